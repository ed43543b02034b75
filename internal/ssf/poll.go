package ssf

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
)

const (
	// pollTime bounds one request; the transmitter may hold it until there is an event.
	pollTime = 40 * time.Second
	// maxPoll bounds an answer, in bytes, and maxEvents the events in it.
	maxPoll   = 4 << 20
	maxEvents = 50
	// maxPause is the longest wait after an answer that is none.
	maxPause = time.Minute
)

// pollRequest and pollAnswer are those of RFC 8936, sections 2.2 and 2.3.
type pollRequest struct {
	MaxEvents         int                  `json:"maxEvents"`
	ReturnImmediately bool                 `json:"returnImmediately"`
	Ack               []string             `json:"ack,omitempty"`
	SetErrs           map[string]pollError `json:"setErrs,omitempty"`
}

type pollError struct {
	Err         string `json:"err"`
	Description string `json:"description"`
}

type pollAnswer struct {
	Sets map[string]string `json:"sets"`
	More bool              `json:"moreAvailable"`
}

// poll fetches the events of a stream until ctx ends. What was taken is acknowledged
// with the next request.
func (r *Receiver) poll(ctx context.Context, s *receiving) {
	next := pollRequest{MaxEvents: maxEvents, ReturnImmediately: true}
	pause := s.Poll.Interval
	failed := false
	for {
		answer, err := s.ask(ctx, next)
		wait := time.Duration(0)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			r.Trouble(s.ID, err)
			failed = true
			wait, pause = pause, min(2*pause, maxPause)
		default:
			if failed {
				r.Trouble(s.ID, nil)
			}
			failed, pause = false, s.Poll.Interval
			next = r.takeAll(ctx, s, answer)
			if !answer.More && len(answer.Sets) == 0 {
				wait = pause
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// takeAll takes the events of one answer, and returns the next request.
func (r *Receiver) takeAll(ctx context.Context, s *receiving, answer pollAnswer) pollRequest {
	next := pollRequest{MaxEvents: maxEvents, ReturnImmediately: true, SetErrs: map[string]pollError{}}
	for id, raw := range answer.Sets {
		err := r.take(ctx, s, raw)
		why, final := errors.AsType[*refused](err)
		switch {
		case err == nil:
			next.Ack = append(next.Ack, id)
		case final && why.code != temporarilyUnfit:
			r.Audit.Write(ctx, audit.Entry{Event: audit.SecurityEventRefused, Reason: why.reason, Name: s.ID, Cause: err})
			next.SetErrs[id] = pollError{why.code, why.text}
		default: // it comes again
			r.Trouble(s.ID, err)
		}
	}
	return next
}

func (s *receiving) ask(ctx context.Context, q pollRequest) (answer pollAnswer, err error) {
	body, err := json.Marshal(q)
	if err != nil {
		return answer, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Poll.Endpoint, bytes.NewReader(body))
	if err != nil {
		return answer, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.Poll.Token.Reveal())
	resp, err := s.client.Do(req)
	if err != nil {
		return answer, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusAccepted {
		return answer, fmt.Errorf("the poll endpoint answers %s", resp.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxPoll))
	if err != nil || len(bytes.TrimSpace(raw)) == 0 {
		return answer, err
	}
	if err := json.Unmarshal(raw, &answer); err != nil || len(answer.Sets) > maxEvents {
		return pollAnswer{}, errors.New("the poll endpoint's answer is not one of RFC 8936, or has more events than were asked for")
	}
	return answer, nil
}
