// Load generator: N connections, D requests in flight on each; prints rate, latency and the CPU that given processes
// used per request. Every answer is compared with the right one.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// atOnce limits the handshakes at the same time, so that no listener's backlog overflows.
const atOnce = 64

type outcome struct {
	Requests   int       `json:"requests"`
	Seconds    float64   `json:"seconds"`
	Errors     int       `json:"errors"` // wrong answers
	Written    int       `json:"written"`
	Sum        uint64    `json:"sum"` // of the requests' contents, as the stubs sum them up
	WrittenSum uint64    `json:"written_sum"`
	AskedSum   uint64    `json:"asked_sum"` // of the one request to the cluster itself, 0 without
	CPU        float64   `json:"cpu_us"`
	RSS        int       `json:"rss_kib"`
	P50        float64   `json:"p50_us"`
	P99        float64   `json:"p99_us"`
	P999       float64   `json:"p999_us"`
	Max        float64   `json:"max_us"`
	Processes  []process `json:"processes"`
}

func main() {
	addr := flag.String("addr", "127.0.0.1:9042", "proxy to connect to")
	expect := flag.String("expect", "", "cluster whose answer to a read is the right one (empty: any result will do)")
	conns := flag.Int("conns", 8, "connections")
	depth := flag.Int("depth", 16, "requests in flight on each connection")
	n := flag.Int("n", 200000, "requests in all")
	mode := flag.String("mode", "write", "write|read|mix|query|named|batch")
	size := flag.Int("val", 100, "bytes of the value written")
	pid := flag.String("pid", "", "processes whose CPU time is measured, by comma")
	rate := flag.Float64("rate", 0, "requests/s in all (0: closed loop)")
	asJSON := flag.Bool("json", false, "print one JSON object instead of a line of text")
	flag.Parse()
	var row []byte
	var asked uint64
	if *expect != "" && (*mode == "read" || *mode == "mix") {
		row, asked = rightRow(*expect)
	}
	all := connectAll(*conns, func() *connection { return connect(*addr, *mode, *depth, *size, row) })
	time.Sleep(300 * time.Millisecond)
	pids := strings.FieldsFunc(*pid, func(r rune) bool { return r == ',' })
	served := owners(pids)
	before := map[string]float64{}
	for _, each := range pids {
		before[each], _ = usage(each)
	}
	seconds := runAll(all, *n, *rate)
	made := summary(all, seconds)
	made.AskedSum = asked
	for _, each := range pids {
		used, rss := usage(each)
		made.add(process{Pid: each, CPU: (used - before[each]) * 1e6 / float64(made.Requests), RSS: rss}, all, served)
	}
	if *asJSON {
		json.NewEncoder(os.Stdout).Encode(made)
		return
	}
	fmt.Printf("%s conns=%d depth=%d n=%d: %.0f req/s p50=%.0fus p99=%.0fus p99.9=%.0fus max=%.0fus errs=%d",
		*mode, *conns, *depth, made.Requests, float64(made.Requests)/seconds, made.P50, made.P99, made.P999, made.Max, made.Errors)
	if len(pids) > 0 {
		fmt.Printf(" cpu/req=%.2fus rss=%dMB", made.CPU, made.RSS/1024)
	}
	fmt.Println()
}

func connectAll(count int, one func() *connection) []*connection {
	all := make([]*connection, count)
	var busy sync.WaitGroup
	turns := make(chan struct{}, atOnce)
	for i := range all {
		busy.Add(1)
		turns <- struct{}{}
		go func() {
			defer busy.Done()
			all[i] = one()
			<-turns
		}()
	}
	busy.Wait()
	return all
}

// runAll returns the seconds that it took. In a closed loop the connections draw from one stock, so that a slow one
// takes less; with a rate each has its share.
func runAll(all []*connection, count int, rate float64) float64 {
	var drawn atomic.Int64
	var busy sync.WaitGroup
	gap := time.Duration(0)
	if rate > 0 {
		gap = time.Duration(float64(time.Second) * float64(len(all)) / rate)
	}
	begun := time.Now()
	for place, each := range all {
		draw := func() (int, bool) {
			number := int(drawn.Add(1) - 1)
			return number, number < count
		}
		if rate > 0 {
			number, step := place-len(all), len(all)
			draw = func() (int, bool) {
				number += step
				return number, number < count
			}
		}
		busy.Add(1)
		go func() {
			defer busy.Done()
			each.run(draw, gap)
		}()
	}
	busy.Wait()
	return time.Since(begun).Seconds()
}

func summary(all []*connection, seconds float64) *outcome {
	made := &outcome{Seconds: seconds, Processes: []process{}}
	var latencies []time.Duration
	for _, each := range all {
		latencies = append(latencies, each.latencies...)
		made.Errors += each.wrong
		made.Written += each.written
		made.Sum += each.sum
		made.WrittenSum += each.writtenSum
	}
	slices.Sort(latencies)
	at := func(q float64) float64 {
		return float64(latencies[int(q*float64(len(latencies)-1))].Nanoseconds()) / 1000
	}
	made.Requests = len(latencies)
	made.P50, made.P99, made.P999, made.Max = at(.5), at(.99), at(.999), at(1)
	return made
}

func (made *outcome) add(one process, all []*connection, served map[string]string) {
	for _, each := range all {
		if served[kernelAddress(each.LocalAddr())] == one.Pid {
			one.Connections++
			one.Requests += len(each.latencies)
		}
	}
	made.CPU += one.CPU
	made.RSS += one.RSS
	made.Processes = append(made.Processes, one)
}
