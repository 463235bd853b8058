package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/zeromicro/go-queue/kq"
	"github.com/zeromicro/go-zero/core/conf"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/trace"
)

func init() { commands["consume"] = consume }

// event is what a handler did, a line of the journal.
type event struct {
	Event   string  // begun, handled, failed, returned
	At      float64 // seconds since the epoch
	Key     []byte  `json:",omitempty"`
	Value   []byte  `json:",omitempty"`
	TraceID string  `json:",omitempty"`
	SpanID  string  `json:",omitempty"`
	State   string  `json:",omitempty"`
	Baggage string  `json:",omitempty"`
	Context string  `json:",omitempty"` // all that is in it, as text
}

// consume runs a queue as go-queue's documents have it, and keeps a journal of its handler.
//
// With -verbs a value says after its first word what is to be done: "17 sleep 0.5", "17 fail",
// "17 panic".
func consume(arguments []string) error {
	flags := flag.NewFlagSet("consume", flag.ExitOnError)
	file := flags.String("f", "", "the configuration")
	path := flags.String("journal", "", "where events go")
	verbs := flags.Bool("verbs", false, "do what the values say")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	// One write a line, so that what a killed process has written stays.
	journal, err := os.OpenFile(*path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	var lock sync.Mutex
	note := func(one event) {
		one.At = float64(time.Now().UnixNano()) / 1e9
		line, err := json.Marshal(one)
		if err != nil {
			panic(err)
		}
		lock.Lock()
		defer lock.Unlock()
		if _, err := journal.Write(append(line, '\n')); err != nil {
			panic(err)
		}
	}
	var c kq.KqConf
	conf.MustLoad(*file, &c)
	handle := func(ctx context.Context, key, value string) error {
		span := trace.SpanContextFromContext(ctx)
		told := event{Event: "begun", Key: []byte(key), Value: []byte(value)}
		if span.IsValid() {
			told.TraceID, told.SpanID = span.TraceID().String(), span.SpanID().String()
			told.State = span.TraceState().String()
		}
		told.Baggage = baggage.FromContext(ctx).String()
		if !*verbs {
			told.Context = fmt.Sprintf("%+v", ctx)
		}
		note(told)
		if *verbs {
			if err := do(value); err != nil {
				return err
			}
		}
		told.Event = "handled"
		note(told)
		return nil
	}
	failed := kq.WithErrorHandler(func(_ context.Context, message kafka.Message, _ error) {
		note(event{Event: "failed", Key: message.Key, Value: message.Value})
	})
	q := kq.MustNewQueue(c, kq.WithHandle(handle), failed)
	defer q.Stop()
	q.Start()
	note(event{Event: "returned"})
	return nil
}

func do(value string) error {
	words := strings.Fields(value)
	if len(words) < 2 {
		return nil
	}
	switch words[1] {
	case "sleep":
		pause, err := time.ParseDuration(words[2] + "s")
		if err != nil {
			return err
		}
		time.Sleep(pause)
	case "fail":
		return errors.New("as it says")
	case "panic":
		panic("as it says")
	}
	return nil
}
