#!/bin/sh
# Runs what build.sh made in DIR: ./run.sh DIR FLAGS…
out=$1
shift
exec java -cp "$out/target/classes:$out/target/lib/*" reporter.Reporter "$@"
