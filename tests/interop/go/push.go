package main

import (
	"context"
	"encoding/json"
	"flag"
	"io"
	"os"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/zeromicro/go-queue/kq"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
)

func init() {
	commands["push"] = push
	commands["write"] = write
	commands["read"] = read
}

// record is one message; keys and values are bytes, so they travel as base64.
type record struct {
	How     string
	Key     []byte
	Value   []byte
	Trace   map[string]string
	Headers []header
}

type header struct {
	Key   string
	Value []byte
}

// answer is what a call returned.
type answer struct {
	Call  string
	Error string
}

// push sends records of standard input by a kq.Pusher and tells what each call returned.
func push(arguments []string) error {
	flags := flag.NewFlagSet("push", flag.ExitOnError)
	brokers := flags.String("brokers", "", "separated by commas")
	topic := flags.String("topic", "", "where to")
	sync := flags.Bool("sync", false, "kq.WithSyncPush")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	var options []kq.PushOption
	if *sync {
		options = append(options, kq.WithSyncPush())
	}
	pusher := kq.NewPusher(strings.Split(*brokers, ","), *topic, options...)
	out := json.NewEncoder(os.Stdout)
	err := each(os.Stdin, func(one record) error {
		// The trace is active as it would be in a service that was called with it.
		carrier := propagation.MapCarrier(one.Trace)
		ctx := otel.GetTextMapPropagator().Extract(context.Background(), carrier)
		var failed error
		switch one.How {
		case "Push":
			failed = pusher.Push(ctx, string(one.Value))
		case "KPush":
			failed = pusher.KPush(ctx, string(one.Key), string(one.Value))
		default:
			failed = pusher.PushWithKey(ctx, string(one.Key), string(one.Value))
		}
		return out.Encode(answer{Call: one.How, Error: text(failed)})
	})
	if err != nil {
		return err
	}
	return out.Encode(answer{Call: "Close", Error: text(pusher.Close())})
}

// write sends records of standard input, headers included, which no kq.Pusher can.
func write(arguments []string) error {
	writer := &kafka.Writer{
		Addr:         kafka.TCP(strings.Split(arguments[0], ",")...),
		Topic:        arguments[1],
		RequiredAcks: kafka.RequireAll,
	}
	var messages []kafka.Message
	err := each(os.Stdin, func(one record) error {
		message := kafka.Message{Key: one.Key, Value: one.Value}
		for _, h := range one.Headers {
			message.Headers = append(message.Headers, kafka.Header{Key: h.Key, Value: h.Value})
		}
		messages = append(messages, message)
		return nil
	})
	if err != nil {
		return err
	}
	if err := writer.WriteMessages(context.Background(), messages...); err != nil {
		return err
	}
	return writer.Close()
}

// read prints all that is in partition 0 now, as kafka-go sees it.
func read(arguments []string) error {
	brokers, topic := strings.Split(arguments[0], ","), arguments[1]
	conn, err := kafka.DialLeader(context.Background(), "tcp", brokers[0], topic, 0)
	if err != nil {
		return err
	}
	end, err := conn.ReadLastOffset()
	if err != nil {
		return err
	}
	conn.Close()
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: brokers, Topic: topic, MaxWait: 100 * time.Millisecond,
	})
	defer reader.Close()
	out := json.NewEncoder(os.Stdout)
	for next := int64(0); next < end; {
		message, err := reader.ReadMessage(context.Background())
		if err != nil {
			return err
		}
		found := record{Key: message.Key, Value: message.Value}
		for _, h := range message.Headers {
			found.Headers = append(found.Headers, header{Key: h.Key, Value: h.Value})
		}
		if err := out.Encode(found); err != nil {
			return err
		}
		next = message.Offset + 1
	}
	return nil
}

// each decodes records until the end of the input.
func each(input io.Reader, take func(record) error) error {
	in := json.NewDecoder(input)
	for {
		var one record
		if err := in.Decode(&one); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := take(one); err != nil {
			return err
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
