# Rushes with what real video models need, on CUDA. Build: docker build -t rushes .
# Run: docker run --gpus all -v "$PWD:/work" rushes run my-project
# This file follows constraints.txt; it has not been built where Rushes is tested, as there is no Docker there.
FROM python:3.11-slim

WORKDIR /opt/rushes
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
RUN pip install --no-cache-dir -c constraints.txt "$(grep '^torch==' constraints.txt)" ".[diffusers,quantize]"

WORKDIR /work
ENTRYPOINT ["rushes"]
