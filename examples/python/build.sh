#!/bin/sh
# Makes a virtual environment and the generated code in DIR: ./build.sh DIR
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/build}
mkdir -p "$out/gen"
[ -x "$out/venv/bin/python" ] || python3 -m venv "$out/venv"
"$out/venv/bin/python" -c 'import grpc_tools' 2>/dev/null || "$out/venv/bin/pip" install -q -r "$here/requirements.txt"
proto=$here/../../proto
(cd "$proto" && "$out/venv/bin/python" -m grpc_tools.protoc -I . --python_out="$out/gen" --grpc_python_out="$out/gen" mcp/coordinator/v1/*.proto)
