package main

import (
	"encoding/hex"
	"encoding/json"
	"os"

	"github.com/segmentio/kafka-go"
)

func init() { commands["balancers"] = chooseByBalancers }

const mostPartitions = 12

// hashed is where each balancer puts a key; one row a balancer, for 1, 2, … partitions.
type hashed struct {
	Key    *string // in hexadecimal; null for no key at all
	Chosen map[string][]int
}

// counted is where a balancer that ignores keys puts one message after the other.
type counted struct {
	Balancer   string
	Partitions []int // how many there are, for each message
	Sizes      []int // of key and value together
	Chosen     []int
}

// chooseByBalancers writes what kafka-go's balancers choose, where nothing is left to chance.
func chooseByBalancers([]string) error {
	out := json.NewEncoder(os.Stdout)
	for _, key := range balancedKeys() {
		if err := out.Encode(whereKeyGoes(key)); err != nil {
			return err
		}
	}
	for _, each := range countedCases() {
		if err := out.Encode(each); err != nil {
			return err
		}
	}
	return nil
}

func balancedKeys() [][]byte {
	keys := [][]byte{nil, {}, {0}, {0xff}, {0, 0}, {0xff, 0xfe, 0xfd}, {0x80, 0x81, 0x82, 0x83}}
	// Every tail of murmur2's blocks of four, several times over.
	alphabet := []byte("abcdefghijklmnopqrstuvwxyz")
	for length := 1; length <= len(alphabet); length++ {
		keys = append(keys, alphabet[:length])
	}
	for _, text := range []string{
		"1700000000000000000", "1763834162123456789", "user-1", "user-2", "order:42", "Ω≈ç√∫",
		"こんにちは", "a key with spaces", "\x00\x01\x02", "{\"id\":7}", "kafka", "foobar", "21",
	} {
		keys = append(keys, []byte(text))
	}
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(255 - i)
	}
	keys = append(keys, every, every[:255], every[:254], every[:253])
	// Some hashes have the sign bit set, and one way of dropping it is not the other.
	for i := 0; i < 32; i++ {
		keys = append(keys, []byte{byte(i * 7), byte(i * 31), byte(i), byte(255 - i), byte(i * i)})
	}
	return keys
}

func whereKeyGoes(key []byte) hashed {
	found := hashed{Chosen: map[string][]int{}}
	if key != nil {
		text := hex.EncodeToString(key)
		found.Key = &text
	}
	balancers := map[string]kafka.Balancer{
		"murmur2 consistent": kafka.Murmur2Balancer{Consistent: true},
		"crc32 consistent":   kafka.CRC32Balancer{Consistent: true},
	}
	if key != nil { // without a key the others choose by chance, or in turn
		balancers["murmur2"] = kafka.Murmur2Balancer{}
		balancers["hash"] = &kafka.Hash{}
	}
	if len(key) > 0 {
		balancers["crc32"] = kafka.CRC32Balancer{}
	}
	for name, balancer := range balancers {
		for count := 1; count <= mostPartitions; count++ {
			chosen := balancer.Balance(kafka.Message{Key: key}, numbered(count)...)
			found.Chosen[name] = append(found.Chosen[name], chosen)
		}
	}
	return found
}

func countedCases() []counted {
	var cases []counted
	for _, partitions := range []int{1, 2, 3, 5, 12} {
		for _, chunk := range []int{1, 3} {
			name := map[int]string{1: "round robin", 3: "round robin by 3"}[chunk]
			cases = append(cases, count(name, &kafka.RoundRobin{ChunkSize: chunk}, constant(partitions, 40)))
		}
		cases = append(cases, count("least bytes", &kafka.LeastBytes{}, constant(partitions, 60)))
	}
	// Partitions that are added while messages go on.
	grown := append(append(constant(3, 20), constant(4, 20)...), constant(3, 10)...)
	cases = append(cases, count("round robin", &kafka.RoundRobin{}, grown))
	cases = append(cases, count("least bytes", &kafka.LeastBytes{}, grown))
	return cases
}

func count(name string, balancer kafka.Balancer, partitions []int) counted {
	found := counted{Balancer: name, Partitions: partitions}
	for i, there := range partitions {
		key, value := make([]byte, i%4), make([]byte, (i*i*37)%101)
		message := kafka.Message{Key: key, Value: value}
		found.Sizes = append(found.Sizes, len(key)+len(value))
		found.Chosen = append(found.Chosen, balancer.Balance(message, numbered(there)...))
	}
	return found
}

func constant(value, length int) []int {
	row := make([]int, length)
	for i := range row {
		row[i] = value
	}
	return row
}

func numbered(count int) []int {
	row := make([]int, count)
	for i := range row {
		row[i] = i
	}
	return row
}
