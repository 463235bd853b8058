package main

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zeromicro/go-queue/kq"
	"github.com/zeromicro/go-zero/core/conf"
	"github.com/zeromicro/go-zero/core/logx"
	"golang.org/x/sys/unix"
)

func init() { commands["bench"] = bench }

// measured is what one run of the original has seen.
type measured struct {
	Handled   int64
	Seconds   float64 // from the first handler's begin to the last one's
	Latencies []float64
}

// bench handles a number of messages with a handler that does nothing, and tells how long it took.
//
// With -latency values are times of the monotonic clock, and it tells how old each was.
func bench(arguments []string) error {
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	file := flags.String("f", "", "the configuration")
	count := flags.Int64("count", 0, "messages to handle")
	latency := flags.Bool("latency", false, "values are times")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	var c kq.KqConf
	conf.MustLoad(*file, &c)
	var handled, first atomic.Int64
	var lock sync.Mutex
	found := measured{}
	end := make(chan struct{})
	q := kq.MustNewQueue(c, kq.WithHandle(func(_ context.Context, _, value string) error {
		if first.Load() == 0 {
			first.CompareAndSwap(0, time.Now().UnixNano())
		}
		if *latency {
			now, err := monotonic()
			if err != nil {
				return err
			}
			sent, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return err
			}
			lock.Lock()
			found.Latencies = append(found.Latencies, now-sent)
			lock.Unlock()
		}
		if handled.Add(1) == *count {
			found.Seconds = float64(time.Now().UnixNano()-first.Load()) / 1e9
			close(end)
		}
		return nil
	}))
	logx.Disable()
	go q.Start()
	<-end
	q.Stop()
	found.Handled = handled.Load()
	return json.NewEncoder(os.Stdout).Encode(found)
}

// monotonic is Python's time.monotonic().
func monotonic() (float64, error) {
	var now unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return float64(now.Sec) + float64(now.Nsec)/1e9, err
}
