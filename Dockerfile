# The image of worker, projector and command line: one environment, three programs, no compiler, no root.
#
#   docker build --tag oncelog .
#   docker run --rm oncelog oncelog --version
#   docker run --env-file oncelog.env oncelog                      a worker
#   docker run --env-file oncelog.env oncelog oncelog-projector    a projector
#
# Every package comes from deploy/image/*.lock with its hash (`make lock`). tests/packaging runs the steps below
# without Docker.

ARG PYTHON=3.13-slim-trixie

FROM python:${PYTHON} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

# Dependencies change rarely, so they are a layer of their own.
COPY deploy/image/requirements.lock deploy/image/build.lock ./
RUN python -m venv /opt/oncelog \
 && /opt/oncelog/bin/pip install --require-hashes --only-binary :all: --requirement requirements.lock \
 && python -m venv tools \
 && tools/bin/pip install --require-hashes --only-binary :all: --requirement build.lock

COPY pyproject.toml README.md LICENSE worker.py ./
COPY activities activities
COPY workflows workflows
COPY oncelog oncelog
# By way of the source archive, as every wheel of ours is made: here, modules are links.
RUN tools/bin/hatchling build -t sdist -d sdist \
 && tar -xzf sdist/oncelog-*.tar.gz --strip-components 1 --one-top-level=source
WORKDIR /build/source
RUN ../tools/bin/hatchling build -t wheel -d ../wheel \
 && /opt/oncelog/bin/pip install --no-index --no-deps ../wheel/oncelog-*.whl \
 && /opt/oncelog/bin/pip check \
 && /opt/oncelog/bin/pip uninstall --yes pip

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="Oncelog" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/oncelog /opt/oncelog
# No home and no name: Kubernetes' runAsNonRoot needs a number, and nothing is written but below /tmp.
USER 10001:10001
ENV PATH=/opt/oncelog/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    ONCELOG_METRICS_ADDRESS=:9464 \
    ONCELOG_PROJECTOR_METRICS_ADDRESS=:9464
WORKDIR /tmp
EXPOSE 9464
# The programs end in order on SIGTERM, a worker within 25 s: give it 40 (docker run --stop-timeout 40).
STOPSIGNAL SIGTERM
CMD ["oncelog-worker"]
