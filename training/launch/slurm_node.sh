#!/usr/bin/env bash
# The launcher of one node's processes; srun in slurm_sixteen_nodes.sbatch starts it on each node.
set -euo pipefail
# The training processes catch USR1 and save; their launcher has to outlive it.
trap '' USR1
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=120 # seconds for a checkpoint after SIGTERM
exec accelerate launch --multi_gpu \
    --num_machines "$SLURM_NNODES" --num_processes "$((SLURM_NNODES * PROCESSES_PER_NODE))" \
    --machine_rank "$SLURM_NODEID" --rdzv_backend static \
    --main_process_ip "$MAIN_HOST" --main_process_port "$MAIN_PORT" \
    --mixed_precision bf16 --dynamo_backend no --no_python \
    training/launch/start_or_resume.sh "$@"
