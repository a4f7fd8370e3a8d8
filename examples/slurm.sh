#!/bin/bash
# All stages on two nodes of eight GPUs: sbatch examples/slurm.sh PROJECT [replicate|shard]. The project's folder must be
# seen by both nodes under one path; its database is opened by the first process alone. Stopped by the time limit? Submit
# again: the run continues, also with the other way or with other numbers of nodes.
#
# replicate: each GPU holds the whole network, gradients are added once per step. Take it wherever a step fits one card,
#   which `rushes plan PROJECT --gpu KIND` says: next to nothing goes between the nodes, so plain Ethernet will do.
# shard: the weights are spread over all 16 GPUs, and each block travels in every pass. Take it where a step does not fit
#   otherwise (train.trainable = "full" of a large model, or an adapter on 14B in bfloat16 on cards of less than 40 GB),
#   and between nodes only over InfiniBand or the like.
#SBATCH --job-name=rushes
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --requeue
set -euo pipefail

project=$1
parallel=${2:-replicate}
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

# A step is shared out by comparisons: with fewer than 16 of them (train.batch) some GPUs have nothing to do.
srun torchrun \
  --nnodes "$SLURM_NNODES" \
  --nproc-per-node 8 \
  --rdzv-backend c10d \
  --rdzv-id "$SLURM_JOB_ID" \
  --rdzv-endpoint "$head:29500" \
  --no-python rushes run "$project" --set train.parallel="$parallel" --set train.reference_cache=8
