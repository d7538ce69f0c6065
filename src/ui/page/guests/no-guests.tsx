/** What the page has to say of a host without guests, instead of numbers and filters. */
export function NoGuests() {
  return (
    <div className="luksmith-empty">
      <h2>No guests</h2>
      <p>This host has no virtual machines yet. Those that you define appear here.</p>
    </div>
  );
}
