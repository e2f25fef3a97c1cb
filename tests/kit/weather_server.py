"""A server with the part of Open-Meteo's protocol that the example uses: geocoding and forecast, for one place."""

from __future__ import annotations

from typing import Self

from aiohttp import web

ANKARA = {
    "name": "Ankara",
    "country": "Türkiye",
    "latitude": 39.91987,
    "longitude": 32.85427,
    "timezone": "Europe/Istanbul",
}


class WeatherServer:
    """Knows Ankara and records the requests."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.status = 200
        """The status of every answer, if it is not 200."""
        self._runner: web.AppRunner | None = None
        self.address = ""

    @property
    def config(self) -> dict[str, str]:
        """The plugin configuration that points to this server."""
        return {"geocoding_url": f"{self.address}/v1/search", "forecast_url": f"{self.address}/v1/forecast"}

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes([web.get("/v1/search", self._search), web.get("/v1/forecast", self._forecast)])
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.address = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._runner:
            await self._runner.cleanup()

    async def _search(self, request: web.Request) -> web.Response:
        self.requests.append(("search", dict(request.query)))
        if self.status != 200:
            return web.json_response({"error": True, "reason": "set by the test"}, status=self.status)
        known = request.query["name"].casefold() == "ankara"
        return web.json_response(
            {"results": [ANKARA], "generationtime_ms": 0.5} if known else {"generationtime_ms": 0.5}
        )

    async def _forecast(self, request: web.Request) -> web.Response:
        self.requests.append(("forecast", dict(request.query)))
        unit = "°F" if request.query.get("temperature_unit") == "fahrenheit" else "°C"
        return web.json_response(
            {
                "latitude": float(request.query["latitude"]),
                "longitude": float(request.query["longitude"]),
                "current_units": {"temperature_2m": unit, "weather_code": "wmo code", "wind_speed_10m": "km/h"},
                "current": {
                    "time": "2026-11-27T12:00",
                    "temperature_2m": 7.4,
                    "weather_code": 61,
                    "wind_speed_10m": 11.2,
                },
                "daily_units": {"temperature_2m_min": unit, "temperature_2m_max": unit},
                "daily": {"time": ["2026-11-27"], "temperature_2m_min": [1.3], "temperature_2m_max": [9.8]},
            }
        )
