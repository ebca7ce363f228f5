// Counts the service users of a team, with a token from bearerd.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"time"
)

var next = regexp.MustCompile(`<([^>]*)>; rel="next"`)

func main() {
	okta := &http.Client{Transport: newFreshToken(), Timeout: 30 * time.Second}
	count, err := countUsers(okta)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(count, "service users")
}

// freshToken asks bearerd before each call, which costs next to nothing, and never keeps the token.
type freshToken struct {
	url    string
	client *http.Client
}

func newFreshToken() freshToken {
	if socket := os.Getenv("BEARERD_SOCKET"); socket != "" {
		dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
		client := &http.Client{Transport: &http.Transport{DialContext: dial}}
		return freshToken{"http://localhost", client}
	}
	url := os.Getenv("BEARERD_URL")
	if url == "" {
		url = "http://127.0.0.1:8420"
	}
	return freshToken{url, http.DefaultClient}
}

func (f freshToken) RoundTrip(call *http.Request) (*http.Response, error) {
	token, err := f.token(call.Context())
	if err != nil {
		return nil, err
	}
	call = call.Clone(call.Context())
	call.Header.Set("Authorization", "Bearer "+token)
	return http.DefaultTransport.RoundTrip(call)
}

func (f freshToken) token(ctx context.Context) (string, error) {
	call, err := http.NewRequestWithContext(ctx, "GET", f.url+"/v1/token?format=raw", nil)
	if err != nil {
		return "", err
	}
	call.Header.Set("X-Bearerd", "1") // only TCP needs it
	answer, err := f.client.Do(call)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("bearerd: %s %s", answer.Status, body)
	}
	return string(body), err
}

func countUsers(okta *http.Client) (int, error) {
	count := 0
	url := os.Getenv("OKTAPAM_API_HOST") + "/v1/teams/" + os.Getenv("OKTAPAM_TEAM") + "/service_users"
	for url != "" {
		var page struct{ List []json.RawMessage }
		header, err := get(okta, url, &page)
		if err != nil {
			return 0, err
		}
		count += len(page.List)
		url = ""
		if link := next.FindStringSubmatch(header.Get("Link")); link != nil {
			url = link[1]
		}
	}
	return count, nil
}

func get(okta *http.Client, url string, into any) (http.Header, error) {
	answer, err := okta.Get(url)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(answer.Body)
		return nil, fmt.Errorf("%s: %s %s", url, answer.Status, why)
	}
	return answer.Header, json.NewDecoder(answer.Body).Decode(into)
}
