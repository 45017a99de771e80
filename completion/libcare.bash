# bash completion for the libcare tools and the kpatch_* steps

# Readline quotes what the shell would take apart; what was typed so has to be read as the shell will.
_libcare_files()
{
	local typed=${cur#[\'\"]}
	[[ $typed == "$cur" ]] && IFS= read typed <<< "$cur"
	compopt -o filenames 2>/dev/null
	mapfile -t COMPREPLY < <(compgen -f -- "$typed")
}

_libcare_words()
{
	COMPREPLY=($(compgen -W "$1" -- "$cur"))
}

# The options of a command of libcare-ctl, and what stands behind them.
_libcare_ctl_command()
{
	case $prev in
	-p) _libcare_words "all $(cd /proc && echo [0-9]*)"; return ;;
	-s) _libcare_files; return ;;
	-i|-r|-b) return ;;
	esac
	case $command,$cur in
	patch*,-*) _libcare_words "-p -s -h" ;;
	unpatch*,-*) _libcare_words "-p -i -h" ;;
	info*,-*) _libcare_words "-n -p -s -r -b -h" ;;
	patch*|server*) _libcare_files ;;
	esac
}

_libcare_ctl()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command= i
	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		[[ ${COMP_WORDS[i]} != -* ]] && command=${COMP_WORDS[i]} && break
	done
	if [[ -n $command ]]; then
		_libcare_ctl_command
	elif [[ $cur == -* ]]; then
		_libcare_words "-v -h"
	else
		_libcare_words "patch unpatch info server"
	fi
}

_libcare_client()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command= i
	local requests="patch unpatch info update storage run kill stop"
	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		[[ " $requests " == *" ${COMP_WORDS[i]} "* ]] && command=${COMP_WORDS[i]} && break
	done
	case $command in
	"") [[ $cur == [/.@]* ]] && _libcare_files || _libcare_words "$requests" ;;
	storage|run) _libcare_files ;;
	*) _libcare_ctl_command ;;
	esac
}

# Options or files, whatever begins as the word does.
_libcare_tool()
{
	local cur=${COMP_WORDS[COMP_CWORD]} options=
	COMPREPLY=()
	case ${COMP_WORDS[0]##*/} in
	libcare-server) options="-v -h" ;;
	libcare-dump) options="-H -c -i -o -h" ;;
	libcare-patch-make) options="-i --id -c --clean -u --update -s --srcdir -d --destdir -b --buildid -j --jobs --assembly -h --help" ;;
	kpatch_make) options="-b -i -n -o -d -h" ;;
	kpatch_strip) options="-s --strip -r --rel-fixup -u --undo-link -h --help" ;;
	kpatch_gensrc) options="-i --input -o --output -d --debug -O --os -a --arch -t --test-mode -f --dbg-filter --dbg-filter-eh-frame --dbg-filter-gcc-except-table --dbg-filter-cfi --dbg-filter-emit-newlines --ignore-changes --unlink-symbols --must-adapt --force-gotpcrel --force-global -h --help" ;;
	esac
	case $cur in
	-*) _libcare_words "$options" ;;
	*) _libcare_files ;;
	esac
}

complete -F _libcare_ctl libcare-ctl
complete -F _libcare_client libcare-client
complete -F _libcare_tool libcare-server libcare-dump libcare-patch-make kpatch_make kpatch_strip kpatch_gensrc
