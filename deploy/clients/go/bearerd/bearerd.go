// Package bearerd gives programs the tokens of the bearerd beside them. One file, no dependency, to
// be copied.
//
//	okta := &http.Client{Transport: &bearerd.Transport{}}
//
// The daemon is found at $BEARERD_SOCKET, at $BEARERD_URL, or in its default places, and is waited
// for. A token is kept until a tenth of what was left of its life is left. When the upstream answers
// 401 the token is reported, and the call is sent once more with a newer one, if there is one.
package bearerd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Transport puts the token into each call; its zero value is ready for use.
type Transport struct {
	// Base sends the calls; nil is http.DefaultTransport.
	Base http.RoundTripper
	// Address is `unix:PATH` or a URL; empty: wherever the daemon is found.
	Address string
	// Credential is another one than the listener's first.
	Credential string
	// AccessTokenFile is that of the listener, if it has one.
	AccessTokenFile string
	// Wait is the time in which the daemon must come up; zero is ten seconds.
	Wait time.Duration

	lock sync.Mutex
	kept *token
}

type token struct {
	Bearer    string `json:"bearer_token"`
	ID        string `json:"token_id"` // safe to log
	ExpiresIn int64  `json:"expires_in"`
	keepUntil time.Time
}

// A report waits for a mint.
const answerTimeout = 30 * time.Second

// RoundTrip sends a call with the token, and once more if that was refused.
func (t *Transport) RoundTrip(call *http.Request) (*http.Response, error) {
	if leadsElsewhere(call) {
		return t.base().RoundTrip(call)
	}
	first, err := t.token(call.Context())
	if err != nil {
		if call.Body != nil {
			call.Body.Close()
		}
		return nil, err
	}
	answer, err := t.send(call, call.Body, first)
	if err != nil || answer.StatusCode != http.StatusUnauthorized {
		return answer, err
	}
	newer := t.newerThan(call.Context(), first)
	body, canRepeat := again(call)
	if newer == nil || !canRepeat {
		return answer, nil
	}
	io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10)) // so that its connection is free again
	answer.Body.Close()
	return t.send(call, body, newer)
}

func again(call *http.Request) (io.ReadCloser, bool) {
	if call.Body == nil || call.Body == http.NoBody {
		return call.Body, true
	}
	if call.GetBody == nil {
		return nil, false
	}
	body, err := call.GetBody()
	return body, err == nil
}

// leadsElsewhere tells whether a redirect has left the origin that the token is for.
func leadsElsewhere(call *http.Request) bool {
	if call.Response == nil || call.Response.Request == nil {
		return false
	}
	before := call.Response.Request
	isSame := call.URL.Scheme == before.URL.Scheme && call.URL.Host == before.URL.Host
	return !isSame || before.Header.Get("Authorization") == ""
}

func (t *Transport) base() http.RoundTripper {
	if t.Base == nil {
		return http.DefaultTransport
	}
	return t.Base
}

func (t *Transport) send(call *http.Request, body io.ReadCloser, token *token) (*http.Response, error) {
	call = call.Clone(call.Context())
	call.Body = body
	call.Header.Set("Authorization", "Bearer "+token.Bearer)
	return t.base().RoundTrip(call)
}

// token gives the token, asking the daemon if the one that is kept may be over.
func (t *Transport) token(ctx context.Context) (*token, error) {
	wait := t.Wait
	if wait == 0 {
		wait = 10 * time.Second
	}
	late := time.Now().Add(wait) // who stands in line behind another waits no longer for that
	t.lock.Lock()
	defer t.lock.Unlock()
	if t.kept == nil || !time.Now().Before(t.kept.keepUntil) {
		first, err := t.firstToken(ctx, late)
		if err != nil {
			return nil, err
		}
		t.kept = first
	}
	return t.kept, nil
}

// newerThan reports a token that got a 401; it gives a newer one, or nil if none can be had now.
func (t *Transport) newerThan(ctx context.Context, refused *token) *token {
	t.lock.Lock()
	defer t.lock.Unlock()
	if t.kept != nil && t.kept.ID != refused.ID {
		return t.kept
	}
	report, _ := json.Marshal(map[string]string{"token_id": refused.ID})
	t.kept, _, _ = t.ask(ctx, "POST", "/v1/token/rejected", report)
	return t.kept
}

func (t *Transport) firstToken(ctx context.Context, late time.Time) (*token, error) {
	pause := 50 * time.Millisecond
	for {
		first, retryAfter, err := t.ask(ctx, "GET", "/v1/token", nil)
		if err == nil || retryAfter == never {
			return first, err
		}
		if pause < retryAfter {
			pause = retryAfter
		}
		if time.Now().Add(pause).After(late) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pause):
		}
		if pause *= 2; pause > time.Second {
			pause = time.Second
		}
	}
}

// What asking again does not mend.
const never = time.Duration(-1)

// ask gives the token of an answer, or after what time it is worth asking again.
func (t *Transport) ask(ctx context.Context, method, path string, body []byte) (*token, time.Duration, error) {
	places := []string{t.Address}
	if t.Address == "" {
		places = defaultPlaces()
	}
	var trouble error
	for _, place := range places {
		answer, err := t.exchange(ctx, place, method, path, body)
		if err == nil {
			defer answer.Body.Close()
			return read(answer)
		}
		if trouble == nil {
			trouble = fmt.Errorf("bearerd: %s: %w", place, plain(err))
		}
	}
	return nil, 0, trouble
}

func defaultPlaces() []string {
	if path := os.Getenv("BEARERD_SOCKET"); path != "" {
		return []string{"unix:" + path}
	}
	if address := os.Getenv("BEARERD_URL"); address != "" {
		return []string{address}
	}
	folders := append(filepath.SplitList(os.Getenv("RUNTIME_DIRECTORY")), "/run/bearerd")
	if folder := os.Getenv("XDG_RUNTIME_DIR"); folder != "" {
		folders = append(folders, folder)
	}
	for i, folder := range folders {
		folders[i] = "unix:" + folder + "/bearerd.sock"
	}
	return folders
}

func (t *Transport) exchange(ctx context.Context, place, method, path string, body []byte) (*http.Response, error) {
	// Asking is rare: no connection is kept for it.
	road := &http.Transport{DisableKeepAlives: true}
	base := strings.TrimSuffix(place, "/")
	if socket := strings.TrimPrefix(place, "unix:"); socket != place {
		base = "http://localhost"
		road.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
	}
	if t.Credential != "" {
		path += "?" + url.Values{"credential": {t.Credential}}.Encode()
	}
	call, err := http.NewRequestWithContext(ctx, method, base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	call.Header.Set("X-Bearerd", "1")
	call.Header.Set("Content-Type", "application/json")
	if t.AccessTokenFile != "" {
		secret, err := os.ReadFile(t.AccessTokenFile)
		if err != nil {
			return nil, err
		}
		call.Header.Set("Authorization", "Bearer "+strings.TrimSuffix(string(secret), "\n"))
	}
	return (&http.Client{Transport: road, Timeout: answerTimeout}).Do(call)
}

func read(answer *http.Response) (*token, time.Duration, error) {
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return nil, 0, fmt.Errorf("bearerd: %w", err)
	}
	if answer.StatusCode == http.StatusOK {
		var read token
		if err := json.Unmarshal(body, &read); err != nil || read.Bearer == "" {
			return nil, never, errors.New("bearerd: what answers there is no bearerd")
		}
		read.keepUntil = time.Now().Add(time.Duration(read.ExpiresIn) * time.Second * 9 / 10)
		return &read, 0, nil
	}
	var problem struct{ Detail string }
	if json.Unmarshal(body, &problem) != nil {
		problem.Detail = "no bearerd answers there"
	}
	err = fmt.Errorf("bearerd: %d %s", answer.StatusCode, problem.Detail)
	switch answer.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		seconds, _ := strconv.Atoi(answer.Header.Get("Retry-After"))
		if seconds > 1 {
			seconds = 1
		}
		return nil, time.Duration(seconds) * time.Second, err
	}
	return nil, never, err
}

// plain leaves out the URL that net/http puts before each error, which is none for a socket.
func plain(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}
