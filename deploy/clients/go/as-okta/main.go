// Counts the service users of a team, and knows nothing but Okta.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"time"
)

var (
	okta = &http.Client{Timeout: 30 * time.Second}
	team = os.Getenv("OKTAPAM_API_HOST") + "/v1/teams/" + os.Getenv("OKTAPAM_TEAM")
	next = regexp.MustCompile(`<([^>]*)>; rel="next"`)
)

func main() {
	count, err := countUsers()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(count, "service users")
}

func countUsers() (int, error) {
	token, err := mint()
	if err != nil {
		return 0, err
	}
	count, url := 0, team+"/service_users"
	for url != "" {
		var page struct{ List []json.RawMessage }
		header, err := ask("GET", url, token, nil, &page)
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

func mint() (string, error) {
	key, err := json.Marshal(map[string]string{
		"key_id":     os.Getenv("OKTAPAM_KEY"),
		"key_secret": os.Getenv("OKTAPAM_SECRET"),
	})
	if err != nil {
		return "", err
	}
	var grant struct {
		BearerToken string `json:"bearer_token"`
	}
	_, err = ask("POST", team+"/service_token", "", bytes.NewReader(key), &grant)
	return grant.BearerToken, err
}

func ask(method, url, token string, body io.Reader, into any) (http.Header, error) {
	call, err := http.NewRequest(method, url, body)
	if err != nil {
		return nil, err
	}
	call.Header.Set("Content-Type", "application/json")
	if token != "" {
		call.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := okta.Do(call)
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
