import { generateQuestions, type Question } from "./questions.js";
import type { Material } from "./scenario.js";

/** Its first line: domain, prompt_chars, weak_correct, strong_correct. */
export const mmluFile = "mmlu_two_arm_outcomes.csv";

/**
 * The 14 042 questions of MMLU in 57 topics, with who answers rightly: Mixtral-8x7B-Instruct (weak) and gpt-4-1106-preview (strong). From the file where it is present, else dealt
 * out again from the counts of each topic, which are the file's own, so that only which question is which differs.
 * Source: lm-sys/RouteLLM, evaluations, Apache-2.0.
 */
export function mmluQuestions({ text }: Pick<Material, "text">): readonly Question[] {
  const file = text(mmluFile);
  return file === undefined ? generateQuestions(mmluTopics, 1) : parseQuestions(file);
}

function parseQuestions(file: string): readonly Question[] {
  const [, ...lines] = file.trimEnd().split("\n");
  return lines.map((line) => {
    const [topic = "", chars = "", weak = "", strong = ""] = line.trim().split(",");
    return { topic, chars: Number(chars), weak: weak === "1", strong: strong === "1" };
  });
}

/** Topic, questions, right by the weak, by the strong, by both, mean length. Counted in the file. */
const counts: readonly (readonly [string, number, number, number, number, number])[] = [
  ["abstract_algebra", 100, 32, 46, 23, 185],
  ["anatomy", 135, 89, 110, 84, 237],
  ["astronomy", 152, 119, 140, 115, 299],
  ["business_ethics", 100, 70, 79, 62, 324],
  ["clinical_knowledge", 265, 207, 227, 193, 229],
  ["college_biology", 144, 115, 135, 113, 331],
  ["college_chemistry", 100, 49, 48, 34, 237],
  ["college_computer_science", 100, 38, 67, 34, 418],
  ["college_mathematics", 100, 35, 39, 18, 238],
  ["college_medicine", 173, 127, 135, 115, 467],
  ["college_physics", 102, 44, 50, 33, 287],
  ["computer_security", 100, 81, 86, 76, 262],
  ["conceptual_physics", 235, 156, 215, 152, 165],
  ["econometrics", 114, 65, 73, 55, 400],
  ["electrical_engineering", 145, 91, 112, 81, 165],
  ["elementary_mathematics", 378, 176, 210, 125, 176],
  ["formal_logic", 126, 49, 81, 43, 377],
  ["global_facts", 100, 42, 57, 26, 176],
  ["high_school_biology", 310, 256, 292, 251, 346],
  ["high_school_chemistry", 203, 109, 135, 90, 279],
  ["high_school_computer_science", 100, 69, 90, 63, 435],
  ["high_school_european_history", 165, 129, 145, 124, 1626],
  ["high_school_geography", 198, 171, 187, 168, 204],
  ["high_school_government_and_politics", 193, 185, 189, 183, 334],
  ["high_school_macroeconomics", 390, 269, 334, 252, 291],
  ["high_school_mathematics", 270, 86, 8, 3, 194],
  ["high_school_microeconomics", 238, 187, 226, 186, 310],
  ["high_school_physics", 151, 73, 84, 50, 385],
  ["high_school_psychology", 545, 482, 517, 470, 284],
  ["high_school_statistics", 216, 114, 147, 98, 504],
  ["high_school_us_history", 204, 170, 189, 168, 1443],
  ["high_school_world_history", 237, 199, 228, 196, 1586],
  ["human_aging", 223, 165, 192, 160, 199],
  ["human_sexuality", 131, 105, 121, 102, 237],
  ["international_law", 121, 102, 112, 100, 434],
  ["jurisprudence", 108, 86, 96, 82, 306],
  ["logical_fallacies", 163, 126, 143, 121, 299],
  ["machine_learning", 112, 58, 86, 51, 294],
  ["management", 103, 87, 93, 81, 186],
  ["marketing", 234, 216, 217, 206, 261],
  ["medical_genetics", 100, 77, 94, 76, 200],
  ["miscellaneous", 783, 679, 736, 665, 181],
  ["moral_disputes", 346, 267, 296, 256, 304],
  ["moral_scenarios", 895, 385, 724, 350, 410],
  ["nutrition", 306, 244, 268, 230, 294],
  ["philosophy", 311, 245, 266, 230, 249],
  ["prehistory", 324, 267, 303, 261, 268],
  ["professional_accounting", 282, 152, 194, 127, 433],
  ["professional_law", 1534, 776, 1075, 670, 1225],
  ["professional_medicine", 272, 212, 256, 201, 791],
  ["professional_psychology", 612, 461, 544, 442, 360],
  ["public_relations", 110, 78, 88, 71, 253],
  ["security_studies", 245, 183, 210, 176, 828],
  ["sociology", 201, 177, 183, 172, 321],
  ["us_foreign_policy", 100, 89, 95, 87, 276],
  ["virology", 166, 85, 95, 77, 225],
  ["world_religions", 171, 154, 147, 140, 140],
];

export const mmluTopics = counts.map(([topic, questions, weak, strong, both, chars]) => ({ topic, questions, weak, strong, both, chars }));
