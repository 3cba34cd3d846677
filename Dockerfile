# The daemon's image: no file reader, no training, no compiler, not root.
# Build it with `make image`.
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
RUN python -m venv /opt/streamwarden
COPY requirements/daemon.txt requirements/build.txt requirements/
RUN /opt/streamwarden/bin/python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/daemon.txt \
 && python -m venv /opt/build && /opt/build/bin/python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY detector detector
RUN /opt/build/bin/hatchling build -t wheel -d /build/dist \
 && /opt/streamwarden/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-deps /build/dist/*.whl \
 && /opt/streamwarden/bin/python -m pip uninstall --yes --quiet pip setuptools

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="streamwarden" org.opencontainers.image.licenses="Apache-2.0"
RUN mkdir -p /var/lib/streamwarden && chown 10001:10001 /var/lib/streamwarden
COPY --from=build /opt/streamwarden /opt/streamwarden
ENV PATH=/opt/streamwarden/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DETECTOR_RECOVERY__STORE=local:/var/lib/streamwarden \
    DETECTOR_WEB__LISTEN=0.0.0.0:8080
VOLUME /var/lib/streamwarden
WORKDIR /var/lib/streamwarden
EXPOSE 8080
USER 10001:10001
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/-/healthy', timeout=4)"]
ENTRYPOINT ["streamwarden"]
CMD ["run"]
