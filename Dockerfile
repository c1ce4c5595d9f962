FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
RUN python -m venv --upgrade-deps /opt/gateway \
 && /opt/gateway/bin/pip install --no-cache-dir '.[frontend]'

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/comfy-gateway --create-home gateway
COPY --from=build /opt/gateway /opt/gateway
ENV PATH=/opt/gateway/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    COMFY_GATEWAY_CONFIG=/etc/comfy-gateway/config.yaml \
    COMFY_GATEWAY__DATA_DIR=/var/lib/comfy-gateway \
    COMFY_GATEWAY__SERVER__HOST=0.0.0.0 \
    COMFY_GATEWAY__SERVER__PORT=8188
USER gateway
WORKDIR /var/lib/comfy-gateway
VOLUME /var/lib/comfy-gateway
EXPOSE 8188
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['COMFY_GATEWAY__SERVER__PORT'] + '/gateway/health', timeout=4)"]
# The file must say access: {mode: tokens}, or {allow_anonymous: true}, since the container listens on all its addresses.
CMD ["comfy-gateway", "serve"]
