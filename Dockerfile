# The service's image: the locked packages and our own wheel, no compiler, no pip, no shell work
# at start. `docker build -t butie .`; deploy/image/build-here.sh builds and tries it with no Docker.
#
# Both stages need the same base: an environment's python is a link to the base's. A claim takes a
# fifth less CPU on Python 3.13 than on 3.11; CI runs the tests on both.
ARG BASE=python:3.13-slim-trixie

FROM ${BASE} AS build
# A private package index: --secret id=pip,src=pip.conf (it does not stay in the image).
ENV PIP_CONFIG_FILE=/run/secrets/pip PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python3 -m venv /build && python3 -m venv --without-pip /opt/butie
COPY requirements/build.txt requirements/serve.txt requirements/
RUN --mount=type=secret,id=pip \
    /build/bin/pip install --quiet --require-hashes --no-deps -r requirements/build.txt && \
    /build/bin/pip --python /opt/butie/bin/python install --quiet \
        --require-hashes --no-deps --only-binary :all: -r requirements/serve.txt
COPY pyproject.toml README.md LICENSE ./
COPY migrations migrations
COPY service service
# Headers, test suites and the clients of networks of its own: a third of Arrow, used by none of us.
RUN /build/bin/python -m hatchling build --target wheel --directory /wheel && \
    /build/bin/pip --python /opt/butie/bin/python install --quiet --no-deps --no-index /wheel/*.whl && \
    cd /opt/butie/lib/python3*/site-packages && \
    rm -rf pyarrow/include pyarrow/src pyarrow/tests pyarrow/*flight* pyarrow/*_s3* && \
    find . -name '*.pyx' -o -name '*.pxd' | xargs rm -f

FROM ${BASE}
# The base brings an installer of its own; what serves the public must not install anything.
RUN rm -rf /usr/local/lib/python3.*/site-packages/* /usr/local/lib/python3.*/ensurepip \
        /usr/local/bin/pip* /usr/lib/python3.*/ensurepip /usr/share/python-wheels
COPY --from=build /opt/butie /opt/butie
ENV BUTIE_DATA_DIR=/tmp/butie \
    PATH=/opt/butie/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    BUTIE_HOST=0.0.0.0
LABEL org.opencontainers.image.title="Butie" org.opencontainers.image.licenses="Apache-2.0"
# Numeric, so that an orchestrator can see that it is not root.
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=4s --start-period=30s --retries=3 CMD ["python", "-m", "service.ops.probe"]
ENTRYPOINT ["butie"]
CMD ["serve"]
