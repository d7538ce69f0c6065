/** Part of a button's name for who does not see where it stands. */
export function OfGuest({ name }: { readonly name: string }) {
  return <span className="pf-v6-screen-reader"> of {name}</span>;
}
