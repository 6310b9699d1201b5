#!/bin/bash
# Installs, on Debian, the servers and clients that the tests and the demo run.
# It does nothing when all are there, starts no service of theirs, and leaves
# none enabled that was not there before.
set -euo pipefail

# program or file  package
need=(
	make make
	/etc/ssl/certs/ca-certificates.crt ca-certificates
	gcc gcc
	/usr/include/stdlib.h libc6-dev
	inspircd inspircd
	atheme-services atheme-services
	ngircd ngircd
	prosody prosody
	/usr/sbin/ejabberdctl ejabberd
	sqlite3 sqlite3
	'/usr/lib/*/ejabberd-*/ebin/ejabberd.beam' ejabberd
	'/usr/lib/erlang/lib/p1_sqlite3-*/ebin/sqlite3.beam' erlang-p1-sqlite3
	profanity profanity
	mcabber mcabber
	pidgin pidgin
	/usr/lib/pidgin/pidgin-otr.so pidgin-otr
	Xvfb xvfb
	dbus-daemon dbus
	dbus-send dbus
	gpg gnupg
	tmux tmux
)
# The same, but where it cannot be had the tests with it are skipped.
want=(
	chromium chromium
	psi psi
	xdotool xdotool
)

has() {
	case $1 in
	/*) compgen -G "$1" >/dev/null ;;
	*) PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null ;;
	esac
}

missing=()
for ((i = 0; i < ${#need[@]}; i += 2)); do
	has "${need[i]}" || missing+=("${need[i + 1]}")
done
wanted=()
for ((i = 0; i < ${#want[@]}; i += 2)); do
	has "${want[i]}" || wanted+=("${want[i + 1]}")
done
if ((${#missing[@]} + ${#wanted[@]} == 0)); then
	exit 0
fi
if ((${#missing[@]})); then
	mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
fi

echo "installing: ${missing[*]} ${wanted[*]}" >&2
if ! command -v apt-get >/dev/null; then
	echo "deps: this is not Debian; please install by hand: ${missing[*]} ${wanted[*]}" >&2
	exit $((${#missing[@]} > 0))
fi
root=()
if ((EUID != 0)); then
	if ! command -v sudo >/dev/null; then
		echo "deps: run as root: apt-get install --no-install-recommends ${missing[*]} ${wanted[*]}" >&2
		exit $((${#missing[@]} > 0))
	fi
	root=(sudo)
	[[ -t 0 && -z ${CI-} ]] || root=(sudo -n)
fi

retry() {
	local n
	for n in 1 2 3; do
		"$@" && return
		echo "deps: attempt $n of 3 failed" >&2
		sleep $((n * 5))
	done
	return 1
}

# Debian starts a server as soon as it is installed, unless this file says no.
policy=/usr/sbin/policy-rc.d
if ((${#missing[@]})) && [[ ! -e $policy ]]; then
	trap '"${root[@]}" rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$policy" >/dev/null
	"${root[@]}" chmod 755 "$policy"
fi
had_epmd=$(has epmd && echo yes || true)
apt() {
	"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y \
		-o Dpkg::Use-Pty=0 -o Dpkg::Lock::Timeout=300 \
		install --no-install-recommends "$@"
}
if ((${#missing[@]})); then
	retry "${root[@]}" apt-get -qq update
	retry apt "${missing[@]}"
fi
if ((${#wanted[@]})); then
	((${#missing[@]})) || "${root[@]}" apt-get -qq update || true
	apt "${wanted[@]}" || echo "deps: without ${wanted[*]}: the tests with them will be skipped" >&2
fi
if [[ -d /run/systemd/system ]]; then
	for p in "${missing[@]}"; do
		case $p in
		inspircd | atheme-services | ngircd | prosody | ejabberd)
			"${root[@]}" systemctl --quiet disable "$p" || true ;;
		esac
	done
	if [[ -z $had_epmd ]] && has epmd; then # comes with ejabberd
		"${root[@]}" systemctl --quiet disable epmd.socket epmd.service || true
	fi
fi
for ((i = 0; i < ${#need[@]}; i += 2)); do
	has "${need[i]}" || {
		echo "deps: ${need[i]} is still missing after installing ${need[i + 1]}" >&2
		exit 1
	}
done
