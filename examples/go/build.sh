#!/bin/sh
# Generates the code and compiles the client in DIR: ./build.sh DIR. Needs go, and buf or protoc on PATH.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here}
proto=$(cd "$here/../../proto" && pwd)
mkdir -p "$out/gen"
[ "$out" = "$here" ] || cp "$here"/go.mod "$here"/go.sum "$here"/*.go "$here"/buf.gen.yaml "$out"
cd "$out"
if command -v buf >/dev/null; then
  buf generate "$proto" --path "$proto/mcp"
else
  go build -o bin/ google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
  PATH="$out/bin:$PATH" protoc -I "$proto" --go_out=gen --go_opt=paths=source_relative \
    --go-grpc_out=gen --go-grpc_opt=paths=source_relative "$proto"/mcp/coordinator/v1/*.proto
fi
go build -o reporter .
