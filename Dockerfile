# mosaic-processor as a batch job. It runs as a numeric user, on a read-only root, and writes nowhere but in /scratch, which is a
# volume of its own where nothing else is mounted there:
#   docker run --read-only --cap-drop ALL --security-opt no-new-privileges mosaic-processor:0.1.0 run --help

# By its digest, so that it is known what is built on: the index of all architectures. A newer one is found by
# docker buildx imagetools inspect python:3.13-slim
ARG PYTHON_IMAGE=python:3.13.15-slim-trixie@sha256:8d9d0b8bcf6506481eae4907c18f5e3e7902e629f5f6d684f9e7c32e85e3ddf0

# ---- what is installed from the locks; nothing of this stage but /opt/mosaic and /layer reaches the image
FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv --without-pip /opt/mosaic && python -m venv /opt/build

COPY requirements.lock requirements-build.lock ./
# The libraries' own tests, and a second Kubernetes client that nothing here imports, are 150 MB that no run reads.
RUN python -m pip --python /opt/mosaic/bin/python install --no-compile --only-binary :all: --require-hashes -r requirements.lock \
    && find /opt/mosaic/lib -type d \( -name tests -o -path '*/site-packages/kubernetes/aio' \) -prune -exec rm -r {} + \
    && /opt/build/bin/python -m pip install --only-binary :all: --require-hashes -r requirements-build.lock \
    && /opt/mosaic/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/mosaic/lib

# Our own code goes into a layer of its own, so that a release moves a few hundred kilobytes and not the dependencies.
COPY pyproject.toml README.md LICENSE ./
COPY processor processor
COPY stac stac
RUN /opt/build/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
    && python -m pip --python /opt/mosaic/bin/python install --no-deps --no-compile --root /layer --prefix /opt/mosaic /wheel/*.whl \
    && /opt/mosaic/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash -s /layer /layer/opt/mosaic/lib

# ---- the image
FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown

# GDAL inside the wheels of rasterio and pyogrio links the system's libexpat, which the slim image leaves out.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libexpat1 \
    && rm -rf /var/lib/apt/lists/* \
    && mkdir /scratch \
    && chown 10001:10001 /scratch

COPY --from=build /opt/mosaic /opt/mosaic
COPY --from=build /layer/ /

ENV PATH=/opt/mosaic/bin:$PATH \
    HOME=/scratch \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TMPDIR=/scratch \
    XDG_CACHE_HOME=/scratch/.cache \
    IMAGE_VERSION=${VERSION}
LABEL org.opencontainers.image.title="mosaic-processor" \
      org.opencontainers.image.description="Seamless, radiometrically matched mosaics: STAC in, one COG and one STAC Item out" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"

USER 10001:10001
WORKDIR /scratch
VOLUME ["/scratch"]
ENTRYPOINT ["mosaic-processor"]
CMD ["--help"]
