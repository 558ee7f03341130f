/**
 * The scripts are thin. Each asks `corral __complete -- WORDS`, which answers with a line that says what kind of answer it is
 * (`words`, `files`, `folders`, or `command N`: from word N on it is another program's command line), and then with words, each
 * with a tab and what it is about.
 */
export const completionScripts = {
  bash: `# corral: completion for bash. To install, put this line into ~/.bashrc:
#   source <(corral completion bash)
_corral() {
  local cur=\${COMP_WORDS[COMP_CWORD]} kind
  local -a answer=()
  mapfile -t answer < <(corral __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  kind=\${answer[0]-}
  [[ $cur == '=' || $cur == ':' ]] && cur=
  COMPREPLY=()
  case $kind in
    words) COMPREPLY=("\${answer[@]:1}"); COMPREPLY=("\${COMPREPLY[@]%%$'\\t'*}") ;;
    files) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    folders) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
    command*)
      if declare -F _command_offset >/dev/null; then _command_offset $((\${kind#command } + 1))
      elif [[ \${kind#command } -eq $((COMP_CWORD - 1)) ]]; then mapfile -t COMPREPLY < <(compgen -c -- "$cur" | sort -u)
      else compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); fi ;;
  esac
}
complete -F _corral corral
`,
  zsh: `#compdef corral
# corral: completion for zsh. To install, put this line into ~/.zshrc, after compinit:
#   source <(corral completion zsh)
_corral() {
  local line
  local -a answer described
  answer=("\${(@f)$(corral __complete -- "\${(@Q)words[2,CURRENT-1]}" "\${(Q)PREFIX}" 2>/dev/null)}")
  case \${answer[1]} in
    words)
      for line in "\${(@)answer[2,-1]}"; do
        described+=("\${\${line%%$'\\t'*}//:/\\:}\${\${line#*$'\\t'}:+:\${line#*$'\\t'}}")
      done
      _describe -V corral described ;;
    files) _files ;;
    folders) _files -/ ;;
    command*)
      shift $((\${answer[1]#command } + 1)) words
      (( CURRENT -= \${answer[1]#command } + 1 ))
      _normal ;;
  esac
}
if [[ $funcstack[1] == _corral ]]; then _corral "$@"; else compdef _corral corral; fi
`,
  fish: `# corral: completion for fish. To install, put this line into ~/.config/fish/config.fish:
#   corral completion fish | source
function __corral_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l answer (corral __complete -- $words[2..-1] 2>/dev/null)
    switch "$answer[1]"
        case words
            printf '%s\\n' $answer[2..-1]
        case files
            __fish_complete_path (commandline -ct)
        case folders
            __fish_complete_directories (commandline -ct)
        case 'command *'
            set -l from (math (string replace 'command ' '' -- $answer[1]) + 2)
            complete -C (string join ' ' -- (string escape -- $words[$from..-2]) (commandline -ct))
    end
end
complete -c corral -f -k -a '(__corral_complete)'
`,
} as const;

export type Shell = keyof typeof completionScripts;
