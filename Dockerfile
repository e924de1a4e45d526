# The image of the program, and with --target dev that of the development container.
#
#   docker build -t tracking .                          PyTorch as in requirements.lock: with CUDA on x86-64
#   docker build -t tracking --build-arg TORCH=cpu .    another build of it: cpu, cu126, ... as of uv's --torch-backend
#   docker run --init -v "$PWD/outputs:/outputs" --user "$(id -u):$(id -g)" tracking src.train optimizer=adam
FROM python:3.13-slim-bookworm AS base
# hadolint ignore=DL3013
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action ignore uv \
    && useradd --create-home --uid 1000 app

FROM base AS dev
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends bsdextrautils git make openssh-client procps \
    && rm -rf /var/lib/apt/lists/*
USER 1000
# A volume mounted here belongs to this user, too.
RUN mkdir -p /home/app/project/.venv
WORKDIR /home/app/project

FROM base AS runtime
WORKDIR /app
COPY requirements.lock ./
ARG TORCH=""
# Another build of PyTorch has hashes of its own, and requires other versions of CUDA's packages, or none.
RUN --mount=type=cache,target=/root/.cache/uv \
    if [ -n "$TORCH" ]; then \
        sed -i -E '/^ *--hash/d; s/ *\\$//; /^nvidia-ml-py==/!{/^(cuda-|nvidia-|triton==)/d}' requirements.lock; \
    fi \
    && uv pip install --quiet --system --link-mode copy --compile-bytecode \
        --requirement requirements.lock ${TORCH:+--torch-backend "$TORCH"}
COPY . .
# Any user may run it: code and data are readable, outputs and the home directory (caches) writable.
ENV HOME=/home/app OUTPUTS_DIR=/outputs PYTHONUNBUFFERED=1
RUN python -m compileall -q examples hydra_plugins src \
    && python -c "from src.data.mnist import MNIST; MNIST().prepare_data()" \
    && rm -rf "$HOME/.cache" "$HOME/.config" && chmod 1777 "$HOME" \
    && install --directory --mode 1777 "$OUTPUTS_DIR"
VOLUME ["/outputs"]
USER 1000
ENTRYPOINT ["python", "-m"]
CMD ["src.train", "--help"]
