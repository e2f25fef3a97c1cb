"""A TLS server with a certificate of its own authority."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.kit.keyed_server import completion


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def new(cls, name: str) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _named(name)
        return cls(key, _builder(subject, subject, key, authority=True).sign(key, hashes.SHA256()))

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def server_context(self, folder: Path) -> ssl.SSLContext:
        """A context for 127.0.0.1 with a certificate of this authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        builder = _builder(_named("server"), self.certificate.subject, key, authority=False)
        certificate = builder.add_extension(address, critical=False).sign(self.key, hashes.SHA256())
        file = folder / "server.pem"
        private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        file.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, *private)
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(file)
        return context


@asynccontextmanager
async def tls_model_server(context: ssl.SSLContext) -> AsyncIterator[str]:
    """Yield the address of a server that lists the model `large` and answers `hello`."""
    application = web.Application()
    application.router.add_get("/v1/models", _models)
    application.router.add_post("/v1/chat/completions", _chat)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield f"https://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


async def _models(request: web.Request) -> web.Response:
    return web.json_response({"data": [{"id": "large"}]})


async def _chat(request: web.Request) -> web.Response:
    await request.read()
    return web.json_response(completion())


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, *, authority: bool
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
