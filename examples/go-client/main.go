// Starts one command of Oncelog with nothing but Temporal's Go SDK, and prints its result.
//
//	go run . shop/Product/p1 '{"name": "Lamp"}'
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
)

const resultTimeout = 2 * time.Minute

// Command is the only argument of the workflow: docs/contract.md lists its fields.
type Command struct {
	CommandID   string          `json:"command_id"`
	CommandType string          `json:"command_type"`
	DBName      string          `json:"db_name"`
	ClassID     string          `json:"class_id"`
	InstanceID  string          `json:"instance_id"`
	Payload     json.RawMessage `json:"payload"`
}

// Rejection is the reason of a REJECTED outcome: docs/errors.md lists the codes.
type Rejection struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Result holds the fields of a result that most callers need.
type Result struct {
	CommandID        string     `json:"command_id"`
	Outcome          string     `json:"outcome"`
	AggregateID      string     `json:"aggregate_id"`
	SequenceNumber   *int64     `json:"sequence_number"`
	ConsistencyToken *string    `json:"consistency_token"`
	Rejection        *Rejection `json:"rejection"`
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: go-client DB/CLASS/INSTANCE PAYLOAD")
	}
	result, err := create(os.Args[1], os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	printed, err := json.Marshal(result)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(printed))
}

func create(target, payload string) (*Result, error) {
	parts := strings.SplitN(target, "/", 3)
	if len(parts) != 3 {
		return nil, fmt.Errorf("target %q: expected DB/CLASS/INSTANCE", target)
	}
	command := Command{
		CommandID:   setting("COMMAND_ID", uuid.Must(uuid.NewV7()).String()),
		CommandType: "CREATE_INSTANCE",
		DBName:      parts[0],
		ClassID:     parts[1],
		InstanceID:  parts[2],
		Payload:     json.RawMessage(payload),
	}
	server, err := client.Dial(client.Options{
		HostPort:  setting("TEMPORAL_ADDRESS", client.DefaultHostPort),
		Namespace: setting("TEMPORAL_NAMESPACE", client.DefaultNamespace),
	})
	if err != nil {
		return nil, err
	}
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), resultTimeout)
	defer cancel()
	return submit(ctx, server, command)
}

// submit starts the command's workflow, or attaches to it if this command ID was sent before.
func submit(ctx context.Context, server client.Client, command Command) (*Result, error) {
	options := client.StartWorkflowOptions{
		ID:                                       command.CommandID, // the workflow ID is the command ID
		TaskQueue:                                setting("TASK_QUEUE", "oncelog"),
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowIDConflictPolicy:                 enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		Priority:                                 temporal.Priority{FairnessKey: fairnessKey(command)},
	}
	run, err := server.ExecuteWorkflow(ctx, options, "InstanceCommand", command)
	var started *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &started) { // it came to its end before: its first result is the answer
		run = server.GetWorkflow(ctx, command.CommandID, "")
	} else if err != nil {
		return nil, err
	}
	var result Result
	if err := run.Get(ctx, &result); err != nil {
		return nil, err
	}
	return &result, nil
}

// fairnessKey lets commands of other aggregates pass a thousand of this one: docs/stack.md, "Hot aggregates".
func fairnessKey(command Command) string {
	aggregateID := command.DBName + "/" + command.ClassID + "/" + strings.ReplaceAll(url.QueryEscape(command.InstanceID), "+", "%20")
	digest := sha256.Sum256([]byte(aggregateID))
	return hex.EncodeToString(digest[:])
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
