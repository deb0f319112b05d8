#!/bin/sh
# Runs what build.sh made in DIR: ./run.sh DIR FLAGS…
here=$(cd "$(dirname "$0")" && pwd)
out=$1
shift
PYTHONPATH=$out/gen exec "$out/venv/bin/python" "$here/reporter.py" "$@"
