package main

import (
	"bufio"
	"encoding/json"
	"os"
	"time"
)

func init() {
	commands["durations"] = eachText(func(text string) any {
		duration, err := time.ParseDuration(text)
		if err != nil {
			return nil
		}
		return int64(duration)
	})
	commands["expand"] = eachText(func(text string) any { return os.ExpandEnv(text) })
}

// eachText returns a command that reads a JSON text per line, and writes what rule says of it.
func eachText(rule func(text string) any) func([]string) error {
	return func([]string) error {
		out := json.NewEncoder(os.Stdout)
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			var text string
			if err := json.Unmarshal(in.Bytes(), &text); err != nil {
				return err
			}
			if err := out.Encode(rule(text)); err != nil {
				return err
			}
		}
		return in.Err()
	}
}
