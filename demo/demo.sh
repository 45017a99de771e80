#!/bin/bash
# Patch a redis-server under load, look, revert, look again.
#
#   demo/demo.sh BUILD-DIRECTORY        (or: make demo)
#
# Starts Debian's own redis-server on a free loopback port in a private
# directory, and ends everything it started, however it ends itself.
set -euo pipefail

demo=$(cd "$(dirname "$0")" && pwd)
livepatch=$(cd "${1:?usage: demo/demo.sh BUILD-DIRECTORY}" && pwd)/src/tool/livepatch
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

# A port may be taken between asking and binding, so the server itself tells whether it got one.
start_server() {
	local try line
	for try in {1..20}; do
		port=$((20000 + (RANDOM + try) % 20000))
		coproc SERVER {
			exec redis-server --bind 127.0.0.1 --port $port --dir "$scratch" --save '' --appendonly no --hz 10
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

# Sets $last to the process that was started.
background() {
	"$@" &
	last=$!
	jobs+=("$last")
}

start_load() {
	background redis-benchmark -p "$port" -c 20 -q -n 2000000000 -t ping_mbulk >"$scratch/bench.ping" 2>&1
	bench_ping=$last
	background redis-benchmark -p "$port" -c 20 -q -l -n 50000 -t set,get,incr >"$scratch/bench.mixed" 2>&1
	bench_mixed=$last
	background "$demo/load.py" "$port" >"$scratch/load"
	load=$last
	until_served 20000
}

# Wait until the server has answered that many more commands: the load sets the pace, not the clock.
until_served() {
	local goal
	goal=$(($(info stats total_commands_processed) + $1))
	while [ "$(info stats total_commands_processed)" -lt "$goal" ]; do :; done
}

look() {
	run redis ping
	run redis config get hz
	[ "$(redis ping)" = "$1" ] || die "PING should be answered '$1'"
	[ "$(redis config get hz | tail -n 1)" = "$2" ] || die "hz should be $2"
}

write_patch() {
	cc -O2 -shared -fPIC -o "$scratch/redis_patch.so" "$demo/redis_patch.c"
	# server.config_hz, how often redis does its housekeeping: 44 bytes into redis 7.0's `struct redisServer server`.
	cat >"$scratch/fix.lp" <<-EOF
		dl  fix $scratch/redis_patch.so
		jmp pingCommand \$fix:ping_patched
		set server+44 int 100
	EOF
	run cat "$scratch/fix.lp" | sed "s|$scratch/||"
}

# The offset in the script is of redis 7.0: what stands there must be the 10 the server was started with.
check_layout() {
	local pid=$1 plan
	[ "$(info server redis_version | cut -d. -f1,2)" = 7.0 ] || die "the demo's patch is for redis 7.0"
	plan=$("$livepatch" apply -p "$pid" -f "$scratch/fix.lp" --dry-run)
	grep -q '0a 00 00 00' <<<"$plan" || die "server+44 does not hold hz = 10 in this build of redis:
$plan"
}

# Ends the load; every request that anyone sent must have been answered, and rightly.
count_failures() {
	local requests failed old new worst
	kill -0 "$bench_ping" "$bench_mixed" 2>/dev/null ||
		die "redis-benchmark gave up: $(tail -n 2 "$scratch/bench.ping" "$scratch/bench.mixed")"
	! grep -ahi error "$scratch"/bench.* || die "redis-benchmark saw errors"
	kill -TERM "$load"
	wait "$load" || die "the load saw failures: $(cat "$scratch/load")"
	read -r requests failed old new worst <"$scratch/load"
	[ "$old" -gt 0 ] && [ "$new" -gt 0 ] || die "the load did not see both answers: $old PONG, $new PONG (patched)"
	local errors rejected
	errors=$(info stats total_error_replies)
	rejected=$(info stats rejected_connections)
	[ "$errors" = 0 ] && [ "$rejected" = 0 ] || die "redis counted $errors error replies, $rejected rejected connections"

	printf 'requests served in all      %s\n' "$(info stats total_commands_processed)"
	printf 'of these checked by us      %s (PONG: %s, PONG (patched): %s)\n' "$requests" "$old" "$new"
	printf 'failed requests             %s\n' "$failed"
	printf 'longest wait for a reply    %s us (under load, patched or not)\n' "$worst"
}

main() {
	[ -x "$livepatch" ] || die "$livepatch is missing: run make MODE=rel"
	start_server
	title "$(redis-server --version | cut -d' ' -f1-3), process $server, port $port, under load"
	start_load
	printf '%s connections, %s requests a second\n' "$(info clients connected_clients)" \
		"$(info stats instantaneous_ops_per_sec)"

	title "before"
	look PONG 10

	title "the patch: a function from a shared object, and a number"
	write_patch
	check_layout "$server"
	run "$livepatch" apply -p "$server" -f "$scratch/fix.lp"
	until_served 20000

	title "patched, still the same process $server"
	look "PONG (patched)" 100
	run "$livepatch" list -p "$server"

	title "reverted"
	run "$livepatch" revert -p "$server" --all
	until_served 20000
	look PONG 10

	title "what the load saw"
	count_failures
	printf '\nThe server never stopped serving.  Done in %s s; everything that was started is ended.\n' "$SECONDS"
}

main
