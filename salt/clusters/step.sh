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
