package main

import (
	"context"

	"github.com/segmentio/kafka-go"
)

func init() { commands["evict"] = evict }

// evict takes members out of a group, as the broker does with one it has not heard of for its
// session timeout; of kq that is 30 s, and cannot be set.
func evict(arguments []string) error {
	client := &kafka.Client{Addr: kafka.TCP(arguments[0])}
	request := &kafka.LeaveGroupRequest{GroupID: arguments[1]}
	for _, member := range arguments[2:] {
		request.Members = append(request.Members, kafka.LeaveGroupRequestMember{ID: member})
	}
	response, err := client.LeaveGroup(context.Background(), request)
	if err != nil {
		return err
	}
	return response.Error
}
