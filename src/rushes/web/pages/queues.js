// Choices of clips, as the server has them, in the order of their keys.
export const QUEUES = [
  { name: "undecided", title: "Undecided" },
  { name: "near", title: "Near a threshold" },
  { name: "dropped", title: "Dropped, to rescue" },
  { name: "in_set", title: "In the set" },
  { name: "people", title: "Decided by people" },
  { name: "all", title: "All clips" },
];
