#!/bin/sh
# Generates the code and compiles the client with its libraries in DIR: ./build.sh DIR. Needs java 17 or newer and mvn.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here}
proto=$(cd "$here/../../proto" && pwd)
mkdir -p "$out"
[ "$out" = "$here" ] || cp -R "$here/pom.xml" "$here/src" "$out"
cd "$out"
mvn -q -B package -Dproto.dir="$proto"
