// Load generator: N connections, D requests in flight on each; prints rate, latency and the CPU that given processes used per request.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

func frame(op byte, stream uint16, body []byte) []byte {
	f := []byte{4, 0, byte(stream >> 8), byte(stream), op}
	f = binary.BigEndian.AppendUint32(f, uint32(len(body)))
	return append(f, body...)
}
func lstr(s string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(s)))
	return append(b, s...)
}

func readFrame(r *bufio.Reader, body []byte) (op byte, stream uint16, b []byte, err error) {
	var h [9]byte
	if _, err = io.ReadFull(r, h[:]); err != nil {
		return
	}
	n := int(binary.BigEndian.Uint32(h[5:]))
	if n > len(body) {
		body = make([]byte, n)
	}
	_, err = io.ReadFull(r, body[:n])
	return h[4], binary.BigEndian.Uint16(h[2:]), body[:n], err
}

// usage is the CPU time of the processes in seconds, all threads that live, and their memory in KiB.
func usage(pids []string) (seconds float64, kib int) {
	for _, pid := range pids {
		threads, _ := filepath.Glob("/proc/" + pid + "/task/*/schedstat")
		for _, thread := range threads {
			text, _ := os.ReadFile(thread)
			if fields := strings.Fields(string(text)); len(fields) > 0 {
				ns, _ := strconv.ParseFloat(fields[0], 64)
				seconds += ns / 1e9
			}
		}
		text, err := os.ReadFile("/proc/" + pid + "/statm")
		if fields := strings.Fields(string(text)); err == nil && len(fields) > 1 {
			pages, _ := strconv.Atoi(fields[1])
			kib += pages * os.Getpagesize() / 1024
		}
	}
	return
}

func main() {
	addr := flag.String("addr", "127.0.0.1:9042", "proxy to connect to")
	conns := flag.Int("conns", 8, "connections")
	depth := flag.Int("depth", 16, "requests in flight on each connection")
	n := flag.Int("n", 200000, "requests in all")
	mode := flag.String("mode", "write", "write|read|mix|query")
	vb := flag.Int("val", 100, "bytes of the value written")
	pid := flag.String("pid", "", "processes whose CPU time is measured, by comma")
	rate := flag.Float64("rate", 0, "requests/s in all (0: closed loop)")
	asJSON := flag.Bool("json", false, "print one JSON object instead of a line of text")
	flag.Parse()
	var pids []string
	if *pid != "" {
		pids = strings.Split(*pid, ",")
	}
	val := make([]byte, *vb)
	var wg, ready sync.WaitGroup
	startC := make(chan struct{})
	lat := make([][]time.Duration, *conns)
	var errs int64
	per := *n / *conns
	for ci := 0; ci < *conns; ci++ {
		wg.Add(1)
		ready.Add(1)
		go func(ci int) {
			defer wg.Done()
			c, err := net.Dial("tcp", *addr)
			if err != nil {
				log.Fatal(err)
			}
			r := bufio.NewReaderSize(c, 65536)
			w := bufio.NewWriterSize(c, 65536)
			buf := make([]byte, 65536)
			rt := func(op byte, b []byte) (byte, []byte) {
				w.Write(frame(op, 0, b))
				w.Flush()
				o, _, rb, err := readFrame(r, buf)
				if err != nil {
					log.Fatal("handshake ", err)
				}
				return o, rb
			}
			st := []byte{0, 1, 0, 11}
			st = append(st, "CQL_VERSION"...)
			st = append(st, 0, 5)
			st = append(st, "3.0.0"...)
			o, b := rt(1, st)
			if o != 2 {
				log.Fatal("startup ", o, string(b))
			}
			prep := func(q string) []byte {
				o, b := rt(9, lstr(q))
				if o != 8 {
					log.Fatal("prepare ", o, string(b))
				}
				l := int(binary.BigEndian.Uint16(b[4:]))
				return append([]byte{}, b[4:6+l]...)
			}
			wid := prep("INSERT INTO ks.t (k, v) VALUES (?, ?)")
			rid := prep("SELECT k, v FROM ks.t WHERE k = ?")
			exec := func(id []byte, vals ...[]byte) []byte {
				b := append([]byte{}, id...)
				b = append(b, 0, 6, 1)
				b = binary.BigEndian.AppendUint16(b, uint16(len(vals)))
				for _, v := range vals {
					b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
					b = append(b, v...)
				}
				return b
			}
			wb := exec(wid, []byte("key"), val)
			rb := exec(rid, []byte("key"))
			const text = "INSERT INTO ks.t (k, v) VALUES ('key', 'value %010d of a usual length for a text column, never twice the same')"
			seq := ci * per
			inline := func() []byte {
				seq++
				return append(lstr(fmt.Sprintf(text, seq)), 0, 6, 0)
			}
			body := func(i int) (byte, []byte) {
				switch *mode {
				case "write":
					return 10, wb
				case "read":
					return 10, rb
				case "query":
					return 7, inline()
				}
				if i%2 == 0 {
					return 10, wb
				}
				return 10, rb
			}
			t0 := make([]time.Time, *depth)
			free := make(chan int, *depth)
			for i := 0; i < *depth; i++ {
				free <- i
			}
			lat[ci] = make([]time.Duration, 0, per)
			ready.Done()
			<-startC
			go func() {
				var next time.Time = time.Now()
				gap := time.Duration(0)
				if *rate > 0 {
					gap = time.Duration(float64(time.Second) * float64(*conns) / *rate)
				}
				for i := 0; i < per; i++ {
					if gap > 0 {
						next = next.Add(gap)
						if d := time.Until(next); d > 0 {
							w.Flush()
							time.Sleep(d)
						}
					}
					var s int
					select {
					case s = <-free:
					default:
						w.Flush()
						s = <-free
					}
					if gap > 0 {
						t0[s] = next
					} else {
						t0[s] = time.Now()
					}
					op, b := body(i)
					w.Write(frame(op, uint16(s), b))
				}
				w.Flush()
			}()
			for i := 0; i < per; i++ {
				o, s, b, err := readFrame(r, buf)
				if err != nil {
					log.Fatal("read ", err)
				}
				if o != 8 {
					atomic.AddInt64(&errs, 1)
					if atomic.LoadInt64(&errs) < 3 {
						log.Printf("opcode %d: %q", o, b)
					}
				}
				lat[ci] = append(lat[ci], time.Since(t0[s]))
				free <- int(s)
			}
			c.Close()
		}(ci)
	}
	ready.Wait()
	time.Sleep(300 * time.Millisecond)
	c0, _ := usage(pids)
	t := time.Now()
	close(startC)
	wg.Wait()
	d := time.Since(t)
	c1, rss := usage(pids)
	var all []time.Duration
	for _, x := range lat {
		all = append(all, x...)
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	p := func(q float64) time.Duration { return all[int(q*float64(len(all)-1))] }
	if *asJSON {
		json.NewEncoder(os.Stdout).Encode(map[string]any{
			"requests": len(all), "seconds": d.Seconds(), "errors": errs, "rss_kib": rss,
			"cpu_us": (c1 - c0) * 1e6 / float64(len(all)),
			"p50_us": p(.5).Microseconds(), "p99_us": p(.99).Microseconds(), "max_us": all[len(all)-1].Microseconds(),
		})
		return
	}
	fmt.Printf("%s conns=%d depth=%d n=%d: %.0f req/s p50=%v p99=%v p99.9=%v max=%v errs=%d", *mode, *conns, *depth, len(all), float64(len(all))/d.Seconds(), p(.5), p(.99), p(.999), all[len(all)-1], errs)
	if len(pids) > 0 {
		fmt.Printf(" cpu/req=%.2fus rss=%dMB", (c1-c0)*1e6/float64(len(all)), rss/1024)
	}
	fmt.Println()
}
