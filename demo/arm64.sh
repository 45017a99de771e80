#!/bin/bash
# Patch Debian's arm64 redis-server in arm64_runner under load, look, revert, look again.
#
#   demo/arm64.sh BUILD-DIRECTORY        (or: make demo-arm64)
#
# Fetches redis-server for arm64 into build/arm64-demo (ARM64_SYSROOT= names a
# folder that has it), starts it on a free loopback port in a private
# directory, and ends everything it started, however it ends itself.
set -euo pipefail

demo=$(cd "$(dirname "$0")" && pwd)
runner=$(cd "${1:?usage: demo/arm64.sh BUILD-DIRECTORY}" && pwd)/src/tool/arm64_runner
sysroot=${ARM64_SYSROOT:-$demo/../build/arm64-demo}
scratch=$(mktemp -d "${TMPDIR:-/tmp}/livepatch-demo.XXXXXX")
server=
port=
jobs=()

die() {
	printf 'demo: %s\n' "$*" >&2
	exit 1
}

clean_up() {
	local status=$?
	trap - EXIT
	for pid in "${jobs[@]}" $server; do
		kill "$pid" 2>/dev/null || true
	done
	wait 2>/dev/null || true
	rm -rf "$scratch"
	exit $status
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

title() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
[ -t 1 ] && [ -z "${NO_COLOR:-}" ] || title() { printf '\n== %s\n' "$*"; }
# Show a command, then run it.
run() {
	local words=("$@")
	words[0]=${words[0]##*/}
	[ "$1" != redis ] || words[0]="redis-cli -p $port"
	printf '$ %s\n' "${words[*]//$scratch\//}"
	"$@"
}
redis() { redis-cli -p "$port" "$@"; }
info() { redis info "$1" | tr -d '\r' | sed -n "s/^$2://p"; }
patch_server() { run "$runner" --pid "$server" "$@"; }

start_server() {
	local try line
	for try in {1..20}; do
		port=$((20000 + (RANDOM + try) % 20000))
		coproc SERVER {
			exec "$runner" -L "$sysroot" "$sysroot/usr/bin/redis-server" --bind 127.0.0.1 --port $port --dir "$scratch" \
				--save '' --appendonly no
		}
		server=$SERVER_PID
		exec {log}<&"${SERVER[0]}"
		while read -r line <&"$log"; do
			[[ $line != *"Ready to accept connections"* ]] || break 2
		done
		wait "$server" || true
		server=
	done
	[ -n "$server" ] || die "redis-server did not start: $line"
	cat <&"$log" >"$scratch/redis.log" &
}

# Wait until the server has answered that many more commands: the load sets the pace, not the clock.
until_served() {
	local goal
	goal=$(($(info stats total_commands_processed) + $1))
	while [ "$(info stats total_commands_processed)" -lt "$goal" ]; do :; done
}

start_load() {
	redis-benchmark -p "$port" -c 20 -q -l -n 50000 -t set,get,incr,lpush >"$scratch/bench" 2>&1 &
	bench=$!
	"$demo/load.py" "$port" >"$scratch/load" &
	load=$!
	jobs+=("$bench" "$load")
	# The 20 of redis-benchmark, the 4 of load.py, and the one that asks.
	until [ "$(info clients connected_clients)" -ge 25 ]; do kill -0 "$load" || die "load.py gave up"; done
	until_served 5000
}

# TIME answers with two numbers, or, redirected, as PING does.
look() {
	local answer
	run redis time
	answer=$(redis time | head -n 1)
	[[ $answer =~ $1 ]] || die "TIME answers '$answer'"
}

write_patch() {
	cat >"$scratch/fix.json" <<-EOF
		[{"type": "FUNCTION_REDIRECT", "symbol": "timeCommand", "target": "pingCommand", "desc": "TIME answers PONG"}]
	EOF
	run cat "$scratch/fix.json"
}

# Every request that anyone sent must have been answered, and rightly.
count_failures() {
	local requests failed pongs patched worst
	kill -0 "$bench" 2>/dev/null || die "redis-benchmark gave up: $(tail -n 2 "$scratch/bench")"
	! grep -ahi error "$scratch/bench" || die "redis-benchmark saw errors"
	kill -TERM "$load"
	wait "$load" || die "the load saw failures: $(cat "$scratch/load")"
	read -r requests failed pongs patched worst <"$scratch/load"
	[ "$(info stats total_error_replies)" = 0 ] && [ "$(info stats rejected_connections)" = 0 ] ||
		die "redis counted error replies or rejected connections"
	printf 'requests served in all      %s\n' "$(info stats total_commands_processed)"
	printf 'of these checked by us      %s (PONG: %s)\n' "$requests" $((pongs + patched))
	printf 'failed requests             %s\n' "$failed"
	printf 'longest wait for a reply    %s us (under load, patched or not)\n' "$worst"
}

main() {
	[ -x "$runner" ] || die "$runner is missing: run make MODE=rel"
	[ -n "${ARM64_SYSROOT:-}" ] || "$demo/../scripts/arm64-sysroot" "$sysroot" redis-server >"$scratch/fetched" 2>&1 ||
		die "redis-server for arm64 cannot be fetched: $(tail -n 3 "$scratch/fetched")"
	start_server
	title "Debian's redis-server for arm64 in arm64_runner, process $server, port $port, under load"
	file -Lb "$sysroot/usr/bin/redis-server" 2>/dev/null | cut -d, -f1-2 || true
	start_load
	printf '%s connections, %s requests a second\n' "$(info clients connected_clients)" \
		"$(info stats instantaneous_ops_per_sec)"

	title "before"
	look '^[0-9]+$'

	title "the patch, as JSON"
	write_patch
	patch_server --livepatch-load "$scratch/fix.json"
	until_served 5000

	title "patched, still the same process $server"
	look '^PONG$'
	patch_server --livepatch-list

	title "reverted"
	patch_server --livepatch-revert timeCommand
	until_served 5000
	look '^[0-9]+$'

	title "what the load saw"
	count_failures
	printf '\nThe server never stopped serving.  Done in %s s; everything that was started is ended.\n' "$SECONDS"
}

main
