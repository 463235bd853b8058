// The original under test: go-queue and go-zero themselves, driven from Python.
//
// Each command reads its arguments and writes lines of JSON. A file of this folder is a
// command or two, entered in commands by its init.
package main

import (
	"fmt"
	"os"
	"sort"
	"strings"
)

var commands = map[string]func(arguments []string) error{}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		names := make([]string, 0, len(commands))
		for name := range commands {
			names = append(names, name)
		}
		sort.Strings(names)
		fmt.Fprintln(os.Stderr, "usage: original", strings.Join(names, "|"), "…")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
