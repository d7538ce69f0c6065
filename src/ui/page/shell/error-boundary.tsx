import { Component, type ReactNode } from "react";

interface State {
  readonly failure?: string;
}

/** A defect of a page is told: React would leave an empty one. */
export class ErrorBoundary extends Component<{ readonly children: ReactNode }, State> {
  override state: State = {};

  static getDerivedStateFromError(error: unknown): State {
    return { failure: error instanceof Error ? error.message : String(error) };
  }

  override render(): ReactNode {
    const { failure } = this.state;
    if (failure === undefined) return this.props.children;
    return (
      <main className="luksmith-failure" role="alert">
        <h1>This page has failed</h1>
        <p>
          This is a defect of Luksmith, and it has changed nothing. Load the page again; the command line
          works without it.
        </p>
        <p>
          <code>{failure}</code>
        </p>
        <p>
          <button
            type="button"
            className="pf-v6-c-button pf-m-primary"
            onClick={() => window.location.reload()}
          >
            Load again
          </button>
        </p>
      </main>
    );
  }
}
