#!/bin/sh
# Installs the units of this package, with the paths of this package. As root for the host, else for the user who runs it.
# DESTDIR is put before each path, and the service manager is then left alone. Running it again installs the newer files.
set -eu
umask 022
here=$(dirname "$(readlink -f -- "$0")")
bin=$(dirname "$here")/bin
root=${DESTDIR:-}
case $bin in
  *[\"\'\\]*)
    echo "install.sh: systemd takes no program whose path has quotes or backslashes, as $bin has. Install the package elsewhere." >&2
    exit 1
    ;;
esac

put() {
  mkdir -p "$(dirname "$2")"
  # For systemd a per cent sign is doubled; for sed its own characters are marked.
  quoted=$(printf %s "$bin" | sed 's/%/%%/g; s/[&|]/\\&/g')
  sed "s|^\(Exec[A-Za-z]*=\)/usr/bin/\([a-z]*\)|\1\"$quoted/\2\"|" "$1" >"$2.new"
  chmod 644 "$2.new"
  mv "$2.new" "$2"
  echo "installed $2"
}

# Says which Node the units are to use, where the PATH of services would not find it. A file that is there is left as it is.
put_environment() {
  node=${CORRAL_NODE:-$(command -v node || :)}
  [ ! -e "$1" ] && CORRAL_NODE=$node "$bin/corrald" --version >/dev/null 2>&1 || return 0
  mkdir -p "$(dirname "$1")"
  printf 'CORRAL_NODE="%s"\n' "$(printf %s "$node" | sed 's/[\\"$`]/\\&/g')" >"$1"
  chmod 644 "$1"
  echo "installed $1"
}

"$bin/corrald" --version >/dev/null # Says what is missing, where no Node is new enough.

if [ "$(id -u)" = 0 ]; then
  lib=$root/usr/local/lib
  put "$here/system/corral.service" "$lib/systemd/system/corral.service"
  put "$here/user/corral.service" "$lib/systemd/user/corral.service"
  put "$here/sysusers.d/corral.conf" "$lib/sysusers.d/corral.conf"
  put "$here/tmpfiles.d/corral.conf" "$lib/tmpfiles.d/corral.conf"
  put_environment "$root/etc/corral/environment"
  [ -z "$root" ] || exit 0
  systemd-sysusers "$lib/sysusers.d/corral.conf"
  systemctl daemon-reload
  echo 'next: systemctl enable --now corral'
else
  config=$root${XDG_CONFIG_HOME:-$HOME/.config}
  put "$here/user/corral.service" "$config/systemd/user/corral.service"
  put_environment "$config/corral/environment"
  [ -z "$root" ] || exit 0
  systemctl --user daemon-reload
  echo 'next: systemctl --user enable --now corral'
fi
