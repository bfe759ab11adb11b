#!/bin/bash
# Train on a cluster with Slurm:  sbatch submit_slurm.sh [OPTIONS OF salt fit]
#
# What the job needs; options of sbatch on the command line count more than these lines:
#   sbatch --partition=GPU --time=1-00:00:00 --gpus-per-node=2 --ntasks-per-node=2 submit_slurm.sh --config GN2.yaml
#SBATCH --job-name=salt
#SBATCH --output=salt-%j.log
#SBATCH --open-mode=append
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=2
#SBATCH --mem=16G
#SBATCH --time=08:00:00
#SBATCH --requeue
#SBATCH --signal=USR1@300
# and, where the cluster wants them, without the second #:
##SBATCH --partition=GPU
##SBATCH --account=MY_ACCOUNT

# What is run where the command line names no --config: one of the package, or a file of your own; further options.
CONFIG=gnn.yaml
OPTIONS=()

# Where salt is: venv (ENVIRONMENT is a folder), conda (ENVIRONMENT is a name or a folder), or none: on the PATH already,
# as it is where sbatch is called in an environment that is active.
KIND=none
ENVIRONMENT=
MODULES=()

# How often a job is begun again of which a process was killed, or whose node failed.
MAX_RESTARTS=3

# ---- nothing below has to be changed ----

if [ -z "${SLURM_JOB_ID:-}" ]; then
  echo "submit_slurm.sh is a job of Slurm: sbatch submit_slurm.sh" >&2
  exit 2
fi

# One process for each GPU: trainer.devices is the number of tasks, and that has to be the number of GPUs.
TASKS="${SLURM_NTASKS_PER_NODE:-1}"
if [ "${SLURM_GPUS_ON_NODE:-0}" -gt 0 ] && [ "$SLURM_GPUS_ON_NODE" -ne "$TASKS" ]; then
  echo "salt: the job has $SLURM_GPUS_ON_NODE GPUs and $TASKS tasks a node, and each task trains on a GPU of its own" >&2
  echo "  mend: sbatch --gpus-per-node=$SLURM_GPUS_ON_NODE --ntasks-per-node=$SLURM_GPUS_ON_NODE submit_slurm.sh" >&2
  exit 2
fi

for module in "${MODULES[@]}"; do
  module load "$module" || exit 2
done
case "$KIND" in
  venv) source "$ENVIRONMENT/bin/activate" || exit 2 ;;
  conda)
    base="$(conda info --base)" || exit 2
    source "$base/bin/activate" "$ENVIRONMENT" || exit 2
    ;;
  none) ;;
  *)
    echo "submit_slurm.sh: KIND is $KIND; there are venv, conda, none" >&2
    exit 2
    ;;
esac
if ! command -v salt >/dev/null; then
  echo "submit_slurm.sh: no salt on the PATH: set KIND and ENVIRONMENT at the head of this script" >&2
  exit 2
fi

export OMP_WAIT_POLICY=PASSIVE          # threads that spin starve whoever shares the cores
export SALT_JOB_ID="slurm-$SLURM_JOB_ID" # stays when the job is begun again, and so its run is found

# Run a command as a step of this job, one process for each task, and answer for how it ends: one that was told to save
# and stop (exit code 75) goes on when the job comes out of the queue again; so does one of which a process was killed, if
# the job was begun again fewer than MOST times; any other exit code is that of the job.
#   run_as_step MOST [OPTIONS OF SRUN] -- COMMAND [ARGUMENTS]
run_as_step() {
  local most="$1" options=() step code
  shift
  while [ "$1" != -- ]; do
    options+=("$1")
    shift
  done
  shift
  # srun gives the highest code of all tasks, and ends the others where one fails: codes are made to rise with what they
  # mean for the job. What comes from srun's own signals (130, 143) means the least.
  srun --kill-on-bad-exit=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" "${options[@]}" bash -c '
    trap : INT TERM USR1 USR2 # they are for the command, which is told as well
    "$@"
    code=$?
    [ -z "${SALT_STAGE:-}" ] || rmdir "$SALT_STAGE" 2>/dev/null # the last task of a node can
    [ "$code" -eq 0 ] || echo "salt: task $SLURM_PROCID has ended with exit code $code" >&2
    case "$code" in
      0 | 130 | 143) exit "$code" ;;
      134 | 135 | 137 | 139) exit 240 ;; # SIGABRT, SIGBUS, SIGKILL, SIGSEGV
      75 | 138 | 140) exit 250 ;;        # saved; SIGUSR1, SIGUSR2: before there was anything to save
      126 | 127) exit $((110 + code)) ;; # there is no such command
      *) exit $((code < 36 ? 200 + code : 201)) ;;
    esac' task "$@" &
  step=$!
  trap 'kill -USR1 "$step"' USR1 # Slurm may tell the script alone: --signal=B:USR1@60
  trap 'kill -USR2 "$step"' USR2
  trap : TERM # Slurm tells the step as well: it saves, and is waited for
  while kill -0 "$step" 2>/dev/null; do wait "$step"; done
  wait "$step"
  code=$?
  case "$code" in
    250 | 138 | 140) back_into_queue "it was told to save and stop" 75 ;;
    240 | 134 | 135 | 137 | 139)
      if [ "${SLURM_RESTART_COUNT:-0}" -lt "$most" ]; then
        back_into_queue "a process of it was killed" 137
      else
        echo "salt: a process of job $SLURM_JOB_ID was killed; it was begun again ${SLURM_RESTART_COUNT:-0} times" >&2
        return 137
      fi
      ;;
    236 | 237) return $((code - 110)) ;;
    *) return $((code > 200 && code < 236 ? code - 200 : code)) ;;
  esac
}

# Have Slurm run this job once more: WHY, and the exit CODE where it does not.
back_into_queue() {
  # A task of an array may have the number of the whole array.
  local job="$SLURM_JOB_ID"
  [ -z "${SLURM_ARRAY_TASK_ID:-}" ] || job="${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
  echo "salt: job $job goes back into the queue: $1" >&2
  scontrol requeue "$job"
  return "$2"
}

case " $* " in
  *" --config"*) ;; # another one
  *) OPTIONS=(--config "$CONFIG" "${OPTIONS[@]}") ;;
esac
run_as_step "$MAX_RESTARTS" -- salt fit "${OPTIONS[@]}" "$@" \
  --trainer.devices="$TASKS" --trainer.num_nodes="$SLURM_JOB_NUM_NODES"
