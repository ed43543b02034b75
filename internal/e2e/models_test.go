//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// standInModel answers agents as a model would: it calls the tool that is wanted, once,
// and ends when it gets the result. Of what the APIs of models stream it has the part that
// agents read.
type standInModel struct {
	*httptest.Server
	mu     sync.Mutex
	wanted string
	called bool
	result string
	fault  error
}

// modelTool is a tool as an agent offers it to a model: with the name of its MCP server
// before its own, or in a space of that name.
type modelTool struct{ space, name string }

// modelEvent is an event of a stream. One without data ends it, where the API has that.
type modelEvent struct {
	name string
	data any
}

// modelAPI reads requests and writes answers of one API.
type modelAPI struct {
	// read returns the tools that a request offers, and the results of calls in it.
	read func(body []byte) (offered []modelTool, results []string, err error)
	// say returns an answer that calls a tool, or one that ends, for nil.
	say func(call *modelTool) []modelEvent
}

func newStandInModel(t *testing.T) *standInModel {
	t.Helper()
	m := &standInModel{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/messages", m.serve(anthropicMessages))
	mux.HandleFunc("POST /v1/responses", m.serve(openAIResponses))
	mux.HandleFunc("POST /v1/chat/completions", m.serve(openAIChat))
	m.Server = httptest.NewServer(mux)
	t.Cleanup(m.Close)
	return m
}

// want has the model call a tool when it is asked next.
func (m *standInModel) want(tool string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wanted, m.called, m.result, m.fault = tool, false, "", nil
}

// outcome is what the tool answered to the agent, as the agent told it to the model.
func (m *standInModel) outcome() (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.fault != nil:
		return "", m.fault
	case !m.called:
		return "", fmt.Errorf("%s %s to its model", noTool, m.wanted)
	case m.result == "":
		return "", errors.New("it has no result for its model")
	}
	return m.result, nil
}

func (m *standInModel) serve(api modelAPI) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var offered []modelTool
		var results []string
		if err == nil {
			offered, results, err = api.read(body)
		}
		if err != nil {
			m.mu.Lock()
			m.fault = fmt.Errorf("%s: %w", r.URL.Path, err)
			m.mu.Unlock()
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for _, e := range api.say(m.next(offered, results)) {
			data := []byte("[DONE]")
			if e.data != nil {
				if data, err = json.Marshal(e.data); err != nil {
					panic("internal error: " + err.Error())
				}
			}
			if e.name != "" {
				fmt.Fprintf(w, "event: %s\n", e.name)
			}
			fmt.Fprintf(w, "data: %s\n\n", data)
		}
	}
}

// next decides what the model says: agents ask for titles as well, and offer no tools then.
func (m *standInModel) next(offered []modelTool, results []string) *modelTool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(results) > 0 {
		m.result = strings.Join(results, "\n")
		return nil
	}
	for _, tool := range offered {
		if !m.called && (tool.name == m.wanted || strings.HasSuffix(tool.name, "_"+m.wanted)) {
			m.called = true
			return &tool
		}
	}
	return nil
}

// namedEvents are events that have their type in their data too.
func namedEvents(events ...map[string]any) []modelEvent {
	list := make([]modelEvent, len(events))
	for i, e := range events {
		list[i] = modelEvent{e["type"].(string), e}
	}
	return list
}

// anthropicMessages is https://docs.anthropic.com/en/api/messages-streaming.
var anthropicMessages = modelAPI{
	read: func(body []byte) (offered []modelTool, results []string, err error) {
		var asked struct {
			Tools    []struct{ Name string }
			Messages []struct{ Content json.RawMessage }
		}
		err = json.Unmarshal(body, &asked)
		for _, tool := range asked.Tools {
			offered = append(offered, modelTool{name: tool.Name})
		}
		for _, message := range asked.Messages {
			var blocks []struct {
				Type    string
				Content json.RawMessage
			}
			_ = json.Unmarshal(message.Content, &blocks) // else it is a text
			for _, b := range blocks {
				if b.Type == "tool_result" {
					results = append(results, string(b.Content))
				}
			}
		}
		return offered, results, err
	},
	say: func(call *modelTool) []modelEvent {
		block, delta, reason := map[string]any{"type": "text", "text": ""}, map[string]any{"type": "text_delta", "text": "Done."}, "end_turn"
		if call != nil {
			block = map[string]any{"type": "tool_use", "id": "toolu_1", "name": call.name, "input": map[string]any{}}
			delta, reason = map[string]any{"type": "input_json_delta", "partial_json": "{}"}, "tool_use"
		}
		usage := map[string]any{"input_tokens": 1, "output_tokens": 1}
		return namedEvents(
			map[string]any{"type": "message_start", "message": map[string]any{
				"id": "msg_1", "type": "message", "role": "assistant", "model": "stand-in", "content": []any{}, "stop_reason": nil, "stop_sequence": nil, "usage": usage,
			}},
			map[string]any{"type": "content_block_start", "index": 0, "content_block": block},
			map[string]any{"type": "content_block_delta", "index": 0, "delta": delta},
			map[string]any{"type": "content_block_stop", "index": 0},
			map[string]any{"type": "message_delta", "delta": map[string]any{"stop_reason": reason, "stop_sequence": nil}, "usage": usage},
			map[string]any{"type": "message_stop"},
		)
	},
}

// openAIResponses is https://platform.openai.com/docs/api-reference/responses-streaming,
// with tools in namespaces.
var openAIResponses = modelAPI{
	read: func(body []byte) (offered []modelTool, results []string, err error) {
		var asked struct {
			Tools []struct {
				Name  string
				Tools []struct{ Name string }
			}
			Input []struct {
				Type   string
				Output json.RawMessage
			}
		}
		err = json.Unmarshal(body, &asked)
		for _, tool := range asked.Tools {
			offered = append(offered, modelTool{name: tool.Name})
			for _, in := range tool.Tools {
				offered = append(offered, modelTool{tool.Name, in.Name})
			}
		}
		for _, item := range asked.Input {
			if item.Type == "function_call_output" {
				results = append(results, string(item.Output))
			}
		}
		return offered, results, err
	},
	say: func(call *modelTool) []modelEvent {
		item := map[string]any{"type": "message", "id": "msg_1", "role": "assistant", "content": []any{map[string]any{"type": "output_text", "text": "Done."}}}
		if call != nil {
			item = map[string]any{"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": call.name, "arguments": "{}"}
			if call.space != "" {
				item["namespace"] = call.space
			}
		}
		return namedEvents(
			map[string]any{"type": "response.created", "response": map[string]any{"id": "resp_1"}},
			map[string]any{"type": "response.output_item.done", "output_index": 0, "item": item},
			map[string]any{"type": "response.completed", "response": map[string]any{
				"id": "resp_1", "usage": map[string]any{"input_tokens": 1, "output_tokens": 1, "total_tokens": 2},
			}},
		)
	},
}

// openAIChat is https://platform.openai.com/docs/api-reference/chat-streaming.
var openAIChat = modelAPI{
	read: func(body []byte) (offered []modelTool, results []string, err error) {
		var asked struct {
			Tools    []struct{ Function struct{ Name string } }
			Messages []struct {
				Role    string
				Content json.RawMessage
			}
		}
		err = json.Unmarshal(body, &asked)
		for _, tool := range asked.Tools {
			offered = append(offered, modelTool{name: tool.Function.Name})
		}
		for _, message := range asked.Messages {
			if message.Role == "tool" {
				results = append(results, string(message.Content))
			}
		}
		return offered, results, err
	},
	say: func(call *modelTool) []modelEvent {
		delta, reason := map[string]any{"role": "assistant", "content": "Done."}, "stop"
		if call != nil {
			delta, reason = map[string]any{"role": "assistant", "tool_calls": []any{map[string]any{
				"index": 0, "id": "call_1", "type": "function", "function": map[string]any{"name": call.name, "arguments": "{}"},
			}}}, "tool_calls"
		}
		chunk := func(choice map[string]any) modelEvent {
			return modelEvent{data: map[string]any{"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "stand-in", "choices": []any{choice}}}
		}
		return []modelEvent{
			chunk(map[string]any{"index": 0, "delta": delta, "finish_reason": nil}),
			chunk(map[string]any{"index": 0, "delta": map[string]any{}, "finish_reason": reason}),
			{},
		}
	},
}
