package main

import (
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// process is what one of the measured processes did during the load.
type process struct {
	Pid         string  `json:"pid"`
	CPU         float64 `json:"cpu_us"` // for each request of the whole load
	RSS         int     `json:"rss_kib"`
	Connections int     `json:"connections"` // of the load, that it serves
	Requests    int     `json:"requests"`    // sent on these
}

// usage is the CPU time of a process in seconds, all threads that live, and its memory in KiB.
func usage(pid string) (seconds float64, kib int) {
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
		kib = pages * os.Getpagesize() / 1024
	}
	return
}

// owners tells which process serves each connection, by the connection's address on the load's side.
func owners(pids []string) map[string]string {
	inodes := map[string]string{}
	for _, pid := range pids {
		descriptors, _ := filepath.Glob("/proc/" + pid + "/fd/*")
		for _, descriptor := range descriptors {
			if target, err := os.Readlink(descriptor); err == nil && strings.HasPrefix(target, "socket:[") {
				inodes[strings.Trim(target, "socket:[]")] = pid
			}
		}
	}
	found := map[string]string{}
	sockets, _ := os.ReadFile("/proc/net/tcp")
	for _, line := range strings.Split(string(sockets), "\n") {
		if fields := strings.Fields(line); len(fields) > 9 {
			if pid, ok := inodes[fields[9]]; ok {
				found[fields[2]] = pid
			}
		}
	}
	return found
}

// kernelAddress is an IPv4 address as /proc/net/tcp writes it: its bytes as one number of this machine, and the port.
func kernelAddress(address net.Addr) string {
	tcp := address.(*net.TCPAddr)
	ip := append([]byte{}, tcp.IP.To4()...)
	for i, j := 0, len(ip)-1; i < j; i, j = i+1, j-1 {
		ip[i], ip[j] = ip[j], ip[i]
	}
	return fmt.Sprintf("%s:%04X", strings.ToUpper(hex.EncodeToString(ip)), tcp.Port)
}
