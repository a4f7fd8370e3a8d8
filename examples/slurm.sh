#!/bin/bash
# All stages on two nodes of eight GPUs: sbatch examples/slurm.sh PROJECT. The project's folder must be seen by both
# nodes; its database is opened by the first process alone. Stopped by the time limit? Submit again: the run continues.
#SBATCH --job-name=rushes
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --requeue
set -euo pipefail

project=$1
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

srun torchrun \
  --nnodes "$SLURM_NNODES" \
  --nproc-per-node 8 \
  --rdzv-backend c10d \
  --rdzv-id "$SLURM_JOB_ID" \
  --rdzv-endpoint "$head:29500" \
  --no-python rushes run "$project" --set train.parallel=shard --set train.reference_cache=8
