#!/usr/bin/env bash
# From collisions to ROC curves: setup/demo.sh FOLDER TRAIN VAL TEST (numbers of jets). Parts that are done are reused.
set -euo pipefail
folder=$1 train=$2 val=$3 test=$4
epochs=${DEMO_EPOCHS:-8}
data=$folder/data run=$folder/logs/GNN_demo report=$folder/report
start=$SECONDS
mkdir -p "$folder"

part() { # part NAME STAMP COMMAND...: run the command, once, and say how long it took
  local name=$1 stamp=$2 began=$SECONDS
  shift 2
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$*" ]; then
    echo "demo: $name is done already, reusing it ($stamp says how it was made)"
    return
  fi
  echo "demo: $name"
  "$@"
  echo "$*" > "$stamp"
  echo "demo: $name took $((SECONDS - began)) s"
  rm -f ${next[@]+"${next[@]}"} # what follows was made from what is no more; bash 3 minds empty arrays
}

next=("$folder"/.{trained,tested,reported})
part "simulating collisions" "$folder/.simulated" \
  salt simulate --force --jets "$train" "$val" "$test" --out "$data"
next=("$folder"/.{tested,reported})
train_once() {
  rm -rf "$run"
  "$@"
}
part "training a tagger" "$folder/.trained" \
  train_once salt fit --config gnn.yaml --data.train_file "$data/pp_output_train.h5" \
  --trainer.default_root_dir "$folder/logs" --log_suffix demo --trainer.max_epochs "$epochs"
next=("$folder/.reported")
part "testing it" "$folder/.tested" \
  salt test "$run" "$data/pp_output_test.h5"
next=()
draw() {
  "$@" > "$folder/table.txt"
}
part "drawing the report" "$folder/.reported" \
  draw salt report "$run" --out "$report"

echo
cat "$folder/table.txt"
echo "demo: $((SECONDS - start)) s in all; open $report/index.html"
