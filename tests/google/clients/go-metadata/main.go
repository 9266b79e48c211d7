// Asks the metadata server what Google's own Go libraries ask, and prints it as JSON.
package main

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"cloud.google.com/go/compute/metadata"
	"golang.org/x/oauth2/google"
)

func values(ctx context.Context) (map[string]any, error) {
	found := map[string]any{"onGCE": metadata.OnGCEWithContext(ctx)}
	scopes, err := metadata.ScopesWithContext(ctx, "default")
	if err != nil {
		return found, err
	}
	found["scopes"] = scopes
	for name, ask := range map[string]func(context.Context) (string, error){
		"projectID":        metadata.ProjectIDWithContext,
		"numericProjectID": metadata.NumericProjectIDWithContext,
		"zone":             metadata.ZoneWithContext,
		"instanceID":       metadata.InstanceIDWithContext,
		"instanceName":     metadata.InstanceNameWithContext,
		"hostname":         metadata.HostnameWithContext,
		"email": func(ctx context.Context) (string, error) {
			return metadata.EmailWithContext(ctx, "default")
		},
		"clusterName": func(ctx context.Context) (string, error) {
			return metadata.InstanceAttributeValueWithContext(ctx, "cluster-name")
		},
		"universe": func(ctx context.Context) (string, error) {
			return metadata.GetWithContext(ctx, "universe/universe-domain")
		},
	} {
		value, err := ask(ctx)
		if err != nil {
			return found, err
		}
		found[name] = value
	}
	return found, nil
}

func defaultCredentials(ctx context.Context) (map[string]any, error) {
	found, err := google.FindDefaultCredentials(ctx, "https://www.googleapis.com/auth/cloud-platform")
	if err != nil {
		return map[string]any{}, err
	}
	token, err := found.TokenSource.Token()
	if err != nil {
		return map[string]any{}, err
	}
	return map[string]any{
		"projectID": found.ProjectID, "token": token.AccessToken, "type": token.Type(), "valid": token.Valid(),
	}, nil
}

func subscribe(ctx context.Context) (map[string]any, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var seen []string
	err := metadata.SubscribeWithContext(ctx, "instance/service-accounts/default/email",
		func(_ context.Context, value string, _ bool) error {
			seen = append(seen, value)
			if len(seen) == 2 {
				return context.Canceled
			}
			return nil
		})
	if err == context.Canceled {
		err = nil
	}
	return map[string]any{"seen": seen}, err
}

func main() {
	asks := map[string]func(context.Context) (map[string]any, error){
		"values": values, "default": defaultCredentials, "subscribe": subscribe,
	}
	found, err := asks[os.Args[1]](context.Background())
	if err != nil {
		found["error"] = err.Error()
	}
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		os.Exit(1)
	}
}
