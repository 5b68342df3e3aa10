#!/bin/sh
# The quick start: the ready-made model in four languages; then train, evaluate, predict. Each command is printed before
# it runs. Needs `hyperx` on the path.
#   sh examples/quickstart.sh [OUTPUT_FOLDER]
set -eu
cd "$(dirname "$0")/.."
output=${1:-runs/quickstart}
export HF_HUB_OFFLINE=1
# Threads that wait by spinning take the time of others where more programs run than there are cores.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"

run() {
    printf '\n$ %s\n' "$*"
    "$@"
}

show() { # a sentence, and the options of predict
    text=$1
    shift
    printf '\n$ %s\n' "echo '$text' | hyperx predict $*"
    echo "$text" | hyperx predict "$@"
}

echo "Tags, trees and entities from the model that comes with the package. Of Swiss German it has seen nothing."
show 'Kedi kanepede uyuyor.' --language tr
show 'Мій брат живе у Львові.' --language uk
show 'Ibu membeli ikan di pasar Jakarta.' --language id
show 'D Chatz schlaft uf em Dach.' --language gsw

printf '\n'
echo "Train one hypernetwork on three languages for each of two tasks (some minutes on two cores)."
run hyperx train --config examples/quickstart.yaml --output_dir "$output" --overwrite_output_dir

printf '\nScore it on all sixteen pairs of two tasks and eight languages; ten of them it was never trained on.\n'
run hyperx evaluate --eval_ckpt "$output"

printf '\nTag Dutch, of which it has seen no sentence for either task.\n'
show 'Anna de Vries werkt sinds maandag bij Philips in Eindhoven.' --checkpoint "$output" --language nl --output_format columns

cat <<END

What to try next:
  . .venv/bin/activate
      so that the shell finds hyperx
  hyperx predict --checkpoint $output --language hi
      your own sentences, from the keyboard
  hyperx check --config examples/quickstart.yaml
      what a run would read, before it runs
  hyperx train --help
      every option; the file takes them all
Then edit examples/quickstart.yaml: move pairs in and out of training, add your own files.
END
