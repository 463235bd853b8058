package main

import (
	"encoding/json"
	"os"

	"github.com/zeromicro/go-queue/kq"
	"github.com/zeromicro/go-zero/core/conf"
)

func init() { commands["conf"] = loadConfigurations }

// verdict is what go-zero makes of one file: the values, or the error.
type verdict struct {
	File  string
	Conf  *kq.KqConf
	Error string
}

// loadConfigurations loads each file that is named, with the environment if the first argument is -env.
func loadConfigurations(files []string) error {
	var options []conf.Option
	if len(files) > 0 && files[0] == "-env" {
		options, files = append(options, conf.UseEnv()), files[1:]
	}
	out := json.NewEncoder(os.Stdout)
	for _, file := range files {
		found := verdict{File: file, Conf: &kq.KqConf{}}
		if err := conf.Load(file, found.Conf, options...); err != nil {
			found.Conf, found.Error = nil, err.Error()
		}
		if err := out.Encode(found); err != nil {
			return err
		}
	}
	return nil
}
